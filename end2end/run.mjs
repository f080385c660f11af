// Runs every *.test.mjs in order and ends with `N passed, N failed`. An argument narrows it to files that hold it.
import { readdir } from "node:fs/promises";

const only = process.argv[2] ?? "";
const folder = new URL(".", import.meta.url);
const files = (await readdir(folder)).filter((name) => name.endsWith(".test.mjs") && name.includes(only)).sort();
let passed = 0;
let failed = 0;
for (const file of files) {
  const { default: tests } = await import(new URL(file, folder));
  for (const [name, test] of Object.entries(tests)) {
    const began = Date.now();
    try {
      await test();
      passed += 1;
      console.log(`ok   ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${name}\n${error.stack ?? error}`);
    }
  }
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
