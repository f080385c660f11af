// Secrets: what a person adds, sees by name, changes, and imports; values are in no page.
import assert from "node:assert/strict";
import { BASE, MADE, addSecret, as, fitsPhone, fresh, hydrated, shows, type } from "./browser.mjs";

const named = (word) => fresh(word).toUpperCase();
const row = (page, name) => page.getByRole("row").filter({ hasText: name });
const field = (page, dialog, label) => page.getByRole("dialog", { name: dialog }).getByLabel(label, { exact: true });

/** The team's secrets, as a pod without a repository meets them. */
async function show(page) {
  await page.goto(`${BASE}/secrets?project=`);
  await hydrated(page);
}

/** Deletes what the test has made. */
async function forget(api, names) {
  const { items } = await api.ask("GET", "/secrets?limit=100");
  for (const secret of items.filter((secret) => names.includes(secret.name))) await api.ask("DELETE", `/secrets/${secret.id}`);
}

export default {
  "a secret is added, seen in its pod by name, changed, marked as older there, and the latest after a restart": as("member", async ({ page, errors, api }) => {
    const [name, first, second] = [named("KEY"), `first-${fresh("v")}`, `second-${fresh("v")}`];
    const [several, lines] = [named("LINES"), `-----BEGIN-----\n  'it' "is" $HOME\n-----END-----`];
    try {
      await show(page);
      // What is refused says so at its field, and keeps what was typed.
      await page.getByRole("button", { name: "Add secret", exact: true }).first().click();
      await field(page, "Add secret", "Name").fill("PATH");
      await field(page, "Add secret", "Value").fill("x");
      await page.getByRole("dialog", { name: "Add secret" }).getByRole("button", { name: "Add secret", exact: true }).click();
      await page.getByText("This name would change what every process in the pod runs.").waitFor();
      assert.equal(await field(page, "Add secret", "Value").inputValue(), "x");
      await page.keyboard.press("Escape");
      errors.splice(0, errors.length, ...errors.filter((line) => !line.includes("status of 422 (")));

      await addSecret(page, name, first);
      await row(page, name).getByText("the only one").waitFor();
      await addSecret(page, several, lines);
      const pod = await api.create(fresh("holds"));
      await api.until(pod.id, (pod) => pod.status === "running");
      await page.goto(`${BASE}/pods/${pod.id}`);
      await hydrated(page);
      await page.getByText(name).first().waitFor();
      await type(page, `echo "<$${name}>"`, `<${first}>`);
      const { stdout } = await api.ask("POST", `/pods/${pod.id}/exec`, { argv: ["printenv", several] });
      assert.equal(stdout, `${lines}\n`, "a value of several lines is what was typed");

      await show(page);
      await row(page, name).getByRole("link", { name: pod.name }).waitFor();
      await page.getByRole("button", { name: new RegExp(`^Replace ${name}`) }).click();
      await page.getByLabel("New value").fill(second);
      await page.getByRole("button", { name: `Replace ${name}`, exact: true }).last().click();
      const note = page.getByRole("status").filter({ hasText: "Older values" });
      await note.getByText(pod.name).waitFor();
      await note.getByText(name).waitFor();
      await page.goto(`${BASE}/`);
      await hydrated(page);
      await row(page, pod.name).getByText("Older secrets").waitFor();

      await show(page);
      await note.getByRole("button", { name: /^Restart \d+ pods?$/ }).click();
      await note.getByText(pod.name).waitFor({ state: "detached", timeout: MADE });
      await page.goto(`${BASE}/pods/${pod.id}`);
      await hydrated(page);
      await shows(page, "Running");
      await type(page, `echo "<$${name}>"`, `<${second}>`);
      assert.ok(!(await page.evaluate((text) => document.documentElement.outerHTML.includes(text), first)), "the former value is in no page");
      assert.deepEqual(errors, []);
    } finally {
      await forget(api, [name, several]);
    }
  }),

  "a .env file is looked at line by line before anything of it is kept": as("two-part-name", async ({ page, errors, api }) => {
    const [fresh1, known, same, odd] = [named("NEW"), named("KNOWN"), named("SAME"), named("ODD")];
    try {
      await api.ask("POST", "/secrets", { name: known, value: "before" });
      await api.ask("POST", "/secrets", { name: same, value: "as it is" });
      await show(page);
      await page.getByRole("button", { name: "Import .env" }).click();
      const file = [`${fresh1}="-----BEGIN-----`, "line", `-----END-----"`, `${known}=after`, `export ${same}='as it is'`, "PATH=/evil", `${odd.toLowerCase().replace("odd", "odd-")}=1`].join("\n");
      await page.getByLabel("File").setInputFiles({ name: ".env.staging", mimeType: "text/plain", buffer: Buffer.from(file) });
      const dialog = page.getByRole("dialog", { name: "Import .env" });
      await dialog.getByText("7 lines, read in this browser").waitFor();
      await row(dialog, fresh1).getByText("created").waitFor();
      await row(dialog, fresh1).getByText("3 lines, 34 bytes").waitFor();
      await row(dialog, known).getByText("changed").waitFor();
      await row(dialog, same).getByText("same value as now").waitFor();
      await row(dialog, "PATH").getByText("skipped").waitFor();
      const meant = odd.replace("ODD", "ODD_");
      await dialog.getByRole("button", { name: meant }).click();
      await row(dialog, meant).getByText("created").waitFor();
      await row(dialog, meant).getByRole("checkbox").uncheck();
      await dialog.getByText("1 created, 1 changed, 3 left out").waitFor();
      await fitsPhone(page);
      assert.ok(!(await dialog.innerHTML()).includes("after"), "no value is shown");
      await dialog.getByRole("button", { name: "Import 2 secrets" }).click();
      await dialog.waitFor({ state: "hidden" });
      await row(page, fresh1).waitFor();
      assert.equal(await row(page, meant).count(), 0);
      assert.deepEqual(errors, []);
    } finally {
      await forget(api, [fresh1, known, same, odd.replace("ODD", "ODD_")]);
    }
  }),

  "what an import says that it goes into is what it goes into": as("operator", async ({ page, errors, api }) => {
    const [known, added] = [named("KNOWN"), named("ADDED")];
    try {
      for (const project_ref of ["acme/api", "acme/shop"]) await api.ask("POST", "/secrets", { name: known, value: "x", project_ref });
      await show(page);
      await page.getByRole("button", { name: "Import .env" }).click();
      await page.getByLabel("File").setInputFiles({ name: ".env", mimeType: "text/plain", buffer: Buffer.from(`${added}=1`) });
      const dialog = page.getByRole("dialog", { name: "Import .env" });
      await row(dialog, added).getByText("created").waitFor();
      const into = dialog.getByLabel("into");
      assert.equal(await into.inputValue(), "", "the team, for that is the page's view");
      await into.selectOption("acme/shop");
      await row(dialog, added).getByText("created").waitFor();
      await dialog.getByRole("button", { name: "Import 1 secret" }).click();
      await dialog.waitFor({ state: "hidden" });
      const { items } = await api.ask("GET", "/secrets?limit=100");
      assert.equal(items.find((secret) => secret.name === added).project_ref, "acme/shop");
      assert.deepEqual(errors, []);
    } finally {
      await forget(api, [known, added]);
    }
  }),

  "secrets are renamed, searched and deleted, and the address says which pod they are for": as("operator", async ({ page, errors, api }) => {
    const [name, other, renamed] = [named("ONE"), named("TWO"), named("THREE")];
    try {
      await api.ask("POST", "/secrets", { name, value: "x" });
      await api.ask("POST", "/secrets", { name, value: "x", project_ref: "acme/api" });
      await api.ask("POST", "/secrets", { name: other, value: "x" });
      await show(page);
      await page.getByRole("link", { name: "1 more for acme/api" }).click();
      await page.waitForURL(/project=acme%2Fapi/);
      await row(page, name).getByText("repository wins over team").waitFor();
      await row(page, name).getByText("not used here").waitFor();
      await page.getByLabel("Search names").fill(other.toLowerCase());
      await row(page, name).first().waitFor({ state: "detached" });
      await page.reload();
      await hydrated(page);
      await row(page, other).waitFor();
      assert.equal(await row(page, name).count(), 0);
      await fitsPhone(page);
      await page.getByRole("button", { name: new RegExp(`^Actions for ${other}`) }).click();
      await page.getByRole("button", { name: "Rename…" }).click();
      const dialog = page.getByRole("dialog", { name: `Rename ${other}` });
      await dialog.getByLabel("Name").fill(renamed);
      await dialog.getByRole("button", { name: "Rename secret" }).click();
      // Until then what is typed goes to the dialog, whatever it is meant for.
      await dialog.waitFor({ state: "hidden" });
      await page.getByLabel("Search names").fill(renamed);
      await row(page, renamed).waitFor();
      await page.getByRole("button", { name: new RegExp(`^Actions for ${renamed}`) }).click();
      await page.getByRole("button", { name: "Delete secret…" }).click();
      await page.getByRole("button", { name: `Delete ${renamed}`, exact: true }).click();
      await row(page, renamed).waitFor({ state: "detached" });
      assert.deepEqual(errors, []);
    } finally {
      await forget(api, [name, other, renamed]);
    }
  }),
};
