// Visits pages in a Chromium whose processor is slowed down, and notes when they are painted and when they answer.
import { BASE, open, signIn } from "../../end2end/browser.mjs";

/** Of a debug build's WASM, on a slow machine. */
const WORKS_WITHIN = 120_000;

/** In the page, before anything else: the moment it says that it works, `use` is used; what is waited for is its answer. */
function watch(uses) {
  const told = new MutationObserver(() => {
    told.disconnect();
    const works = performance.now();
    const { press, choose, answer } = uses.find(({ path }) => new RegExp(path).test(location.pathname));
    const control = document.querySelector(press);
    if (choose) {
      control.value = choose;
      control.dispatchEvent(new Event("change", { bubbles: true }));
    } else control.click();
    let answers;
    const look = () => {
      if (document.querySelector(answer)) answers ??= performance.now();
      const painted = Object.fromEntries(performance.getEntriesByType("paint").map((paint) => [paint.name, paint.startTime]));
      // What is quick may answer before it is painted.
      if (!answers || !painted["first-contentful-paint"]) return requestAnimationFrame(look);
      const loaded = performance.getEntries().filter(({ entryType }) => entryType === "navigation" || entryType === "resource");
      window.visited = {
        paint: painted["first-paint"],
        content: painted["first-contentful-paint"],
        works,
        answers,
        bytes: loaded.reduce((all, { transferSize }) => all + transferSize, 0),
      };
    };
    look();
  });
  told.observe(document, { subtree: true, attributes: true, attributeFilter: ["data-hydrated"] });
}

/** Each page `rounds` times with an empty cache and again with what that left. `pages`: path, and what to use on it. */
export async function paints(rounds, slowed, login, pages) {
  const browser = await open();
  const { context, page } = browser;
  try {
    await signIn(page, login);
    const devtools = await context.newCDPSession(page);
    await devtools.send("Emulation.setCPUThrottlingRate", { rate: slowed });
    await context.addInitScript(watch, pages.map(({ use }) => use));
    const visit = async (path) => {
      await page.goto(`${BASE}${path}`, { waitUntil: "commit", timeout: WORKS_WITHIN });
      const visited = await page.waitForFunction(() => window.visited, undefined, { timeout: WORKS_WITHIN });
      return visited.jsonValue();
    };
    const seen = pages.map(({ name }) => ({ name, first: [], again: [] }));
    for (let round = 0; round < rounds; round += 1) {
      for (const [number, { path }] of pages.entries()) {
        await devtools.send("Network.clearBrowserCache");
        seen[number].first.push(await visit(path));
        seen[number].again.push(await visit(path));
      }
    }
    return { seen, chromium: context.browser()?.version() ?? (await page.evaluate(() => navigator.userAgent.match(/Chrome\/([\d.]+)/)[1])) };
  } finally {
    await browser.close();
  }
}
