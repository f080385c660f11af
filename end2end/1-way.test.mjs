// The main job, as a person does it: sign in, create a pod from the Node sample, watch it come up, work in its
// terminal, reload, stop, start, delete. No page may log an error on the way.
import assert from "node:assert/strict";
import { BASE, MADE, fresh, hydrated, open, shows, signIn, type } from "./browser.mjs";

const NAME = fresh("way");

export default {
  async "the whole way: sign in, create, watch, type, reload, stop, start, delete"() {
    const { page, errors, close } = await open();
    try {
      await signIn(page, "owner");
      await page.goto(`${BASE}/pods/new`);
      await hydrated(page);
      await page.getByText("owner/node-site", { exact: true }).first().click();
      const name = page.getByLabel("Name", { exact: true });
      await name.fill("Not a name");
      await page.getByText("Lower-case letters a–z and digits only.").waitFor();
      await name.fill(NAME);
      await page.getByRole("button", { name: `Create pod ${NAME}` }).click();
      await page.waitForURL(/\/pods\/[0-9a-f-]{36}/);

      await shows(page, "Running");
      await hydrated(page);
      await page.getByText("Cloning into").first().waitFor({ timeout: MADE });
      const web = page.getByRole("row").filter({ hasText: "npm run dev" });
      await web.getByText("Answers 200").waitFor({ timeout: MADE });

      await page.locator("pinacle-terminal .xterm-rows").waitFor();
      await type(page, "echo it-$((40+2))-works", "it-42-works");
      await type(page, "curl -s localhost:3000 | head -c 15; echo", "<!doctype html>");
      await type(page, "sudo id -un && git -C node-site log --oneline | wc -l", "root");

      await page.reload();
      await hydrated(page);
      await page.waitForFunction(() => document.querySelector("pinacle-terminal .xterm-rows")?.innerText.includes("it-42-works"));
      await page.getByText("Cloning into").first().waitFor();
      await type(page, "touch kept-file && echo kept-$((40+2))", "kept-42");

      await page.getByRole("button", { name: "Stop", exact: true }).click();
      await shows(page, "Stopped");
      await page.getByRole("button", { name: `Start pod ${NAME}` }).click();
      await shows(page, "Running");
      await type(page, "ls", "kept-file");

      await page.getByRole("button", { name: "More actions" }).click();
      await page.getByRole("button", { name: "Delete pod…" }).click();
      await page.getByLabel(new RegExp(`Type ${NAME}`)).fill(NAME);
      await page.getByRole("button", { name: `Delete pod ${NAME}` }).click();
      await shows(page, "Deleted");
      await page.goto(`${BASE}/`);
      await page.getByRole("heading", { name: /^Pods/ }).waitFor();
      assert.equal(await page.getByRole("link", { name: NAME, exact: true }).count(), 0, "a deleted pod is in no list");
      assert.deepEqual(errors, [], "no page logged an error");
    } finally {
      await close();
    }
  },

  async "a form that was sent without JavaScript keeps what was typed and says what is wrong at its field"() {
    const { page, close } = await open({ javaScriptEnabled: false });
    try {
      await signIn(page, "member");
      await page.goto(`${BASE}/pods/new`);
      await page.getByLabel("Name", { exact: true }).fill("Wrong Name");
      await page.getByRole("button", { name: /^Create pod/ }).click();
      await page.getByText("Lower-case letters a–z and digits only.").first().waitFor();
      assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "Wrong Name");
    } finally {
      await close();
    }
  },
};
