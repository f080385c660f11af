// Working in a pod: an install that fails, its log, files, terminals that have addresses and outlive a server.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BASE, MADE, as, except, fitsPhone, fresh, hydrated, open, reads, script, signIn, type } from "./browser.mjs";

/** Asks the stack's server to end, starts the next one, and waits until that answers. */
const restart = () => {
  const stack = fileURLToPath(new URL("../dev/stack.sh", import.meta.url));
  return promisify(execFile)("setsid", ["-w", stack, "serve"], { env: { ...process.env, STACK: process.env.PINACLE_TEST_STACK, KEEP_SERVER: "1" } });
};

export default {
  "a failed install says its step, last lines and remedy, and its log follows until it is scrolled up": as("owner", async ({ page, errors, api }) => {
    const pod = await api.create(fresh("broken"), { repository: "owner/broken-install" });
    await api.until(pod.id, (pod) => pod.setup.state === "failed");
    await page.goto(`${BASE}/pods/${pod.id}`);
    await hydrated(page);

    const failed = page.getByRole("region", { name: "Set-up failed: Install ended with exit code 1" });
    await failed.getByRole("region", { name: "Last lines of Install" }).getByText("error: gamma needs libgamma >= 3", { exact: false }).waitFor();
    assert.notEqual((await failed.getByRole("definition").first().innerText()).trim(), "");
    await failed.getByText("Likely remedy").waitFor();
    await fitsPhone(page);
    await type(page, "ls broken-install", "install.sh");

    // Follows to the end, and not when one reads further up.
    const log = page.getByRole("log", { name: "Log" });
    const follow = page.getByLabel("Follow new lines");
    const left = () => log.evaluate((view) => view.scrollHeight - view.scrollTop - view.clientHeight);
    const again = async () => {
      await failed.getByRole("button", { name: "Retry set-up" }).click();
      await failed.waitFor({ state: "detached" });
      await failed.waitFor({ timeout: MADE });
    };
    await again();
    await page.waitForFunction((view) => view.scrollHeight - view.scrollTop - view.clientHeight < 2, await log.elementHandle());
    assert.ok(await follow.isChecked());
    await log.hover();
    await page.mouse.wheel(0, -200);
    await page.waitForFunction((box) => !box.checked, await follow.elementHandle());
    const place = await log.evaluate((view) => view.scrollTop);
    await again();
    const newer = page.getByRole("button", { name: /new lines?$/ });
    await newer.waitFor({ timeout: MADE });
    assert.equal(await log.evaluate((view) => view.scrollTop), place, "what is read stays where it is");
    await newer.click();
    await page.waitForFunction((view) => view.scrollHeight - view.scrollTop - view.clientHeight < 2, await log.elementHandle());
    assert.ok((await left()) < 2);

    const search = page.getByRole("searchbox", { name: "Search the log" });
    await search.fill("LIBGAMMA");
    await page.getByText(/^\d+ lines? found$/).waitFor();
    // Once in every try.
    await log.getByRole("listitem").nth(2).waitFor();
    for (const line of await log.getByRole("listitem").allInnerTexts()) assert.match(line, /libgamma/);
    assert.equal(await log.locator("mark").first().innerText(), "libgamma");
    await search.fill("");
    await page.reload();
    await log.getByText("Installing beta").first().waitFor();
    await log.getByText("Cloning into").first().waitFor();
    assert.deepEqual(errors, []);
  }, { viewport: { width: 1280, height: 700 } }),

  async "a file goes up and comes down unchanged; a second terminal has an address, and another browser goes on in it"() {
    const here = await open();
    const there = await open();
    let api;
    try {
      const { page } = here;
      await signIn(page, "member");
      api = await script(page);
      const pod = await api.create(fresh("work"));
      await api.until(pod.id, (pod) => pod.status === "running");
      await page.goto(`${BASE}/pods/${pod.id}`);
      await hydrated(page);

      const content = randomBytes(300_000);
      await page.getByLabel("Upload a file").setInputFiles({ name: "up.bin", mimeType: "application/octet-stream", buffer: content });
      await page.getByText("/home/dev/up.bin is in the pod.").waitFor();
      await type(page, "stat -c %s-bytes up.bin && cp up.bin down.bin", "300000-bytes");
      await page.getByLabel("Path in the pod").fill("/home/dev/down.bin");
      const coming = page.waitForEvent("download");
      await page.getByRole("button", { name: "Download", exact: true }).click();
      const download = await coming;
      assert.equal(download.suggestedFilename(), "down.bin");
      assert.ok(content.equals(await readFile(await download.path())), "the bytes are the same");
      // One that is not there is said, and leaves the page where it is.
      await page.getByLabel("Path in the pod").fill("/home/dev/nowhere.bin");
      await page.getByRole("button", { name: "Download", exact: true }).click();
      await page.getByText("nowhere.bin").waitFor();
      assert.equal(new URL(page.url()).pathname, `/pods/${pod.id}`);

      await page.getByRole("button", { name: "New terminal" }).click();
      await page.waitForURL(/\?terminal=t2$/);
      await page.getByRole("tabpanel", { name: "terminal t2" }).waitFor();
      await type(page, "seq -f line-%g 1 300; echo end-$((6*7))", "end-42");
      const bookmark = page.url();

      await signIn(there.page, "member");
      await there.page.goto(bookmark);
      await hydrated(there.page);
      assert.equal(await there.page.getByRole("tab", { name: /^t2/ }).getAttribute("aria-selected"), "true");
      await reads(there.page, "end-42");
      await there.page.locator("pinacle-terminal .xterm-screen").hover();
      // A turn at a time: turns that are still on their way would go on scrolling after the end of this.
      const turnTo = async (text, by) => {
        for (let turns = 0; turns < 60; turns += 1) {
          await there.page.mouse.wheel(0, by);
          if (await reads(there.page, text, 250).then(() => true, () => false)) return;
        }
        await reads(there.page, text);
      };
      await turnTo("line-200", -400);
      // At its end the scroll-back closes by itself.
      await turnTo("end-42", 400);
      await type(there.page, "echo from-there-$((6*7))", "from-there-42");
      await reads(page, "from-there-42");
      assert.deepEqual(except([...here.errors, ...there.errors], 404), []);
    } finally {
      await api?.clean();
      await here.close();
      await there.close();
    }
  },

  "a terminal goes on at the next server, and what is typed meanwhile arrives once and in order": as("owner", async ({ page, errors, api }) => {
    if (!process.env.PINACLE_TEST_STACK) {
      console.log("NOT TESTED: a terminal goes on at the next server: this server is not the tests' own, which `make test` starts");
      return;
    }
    const pod = await api.create(fresh("restart"));
    await api.until(pod.id, (pod) => pod.status === "running");
    let sockets = 0;
    page.on("websocket", (socket) => {
      if (socket.url().includes("/terminals/")) sockets += 1;
    });
    await page.goto(`${BASE}/pods/${pod.id}`);
    await hydrated(page);
    await page.evaluate(() => {
      globalThis.stays = true;
    });
    await type(page, "echo ready-$((1+1)); while read -r it && [ $it != end ]; do echo $it; done > lines; echo all-$((40+2))", "ready-2");
    const before = sockets;

    // From before the server ends until the next one answers. The keys are a person's who types fast.
    let [written, over] = [0, false];
    const typing = async () => {
      for (; !over; written += 1) await page.keyboard.type(`${written}\n`, { delay: 10 });
    };
    const away = page.locator("pinacle-terminal").getByText("Reconnecting. What you type is kept").waitFor();
    await Promise.all([restart().finally(() => (over = true)), typing(), away]);
    await page.keyboard.type("end\n");
    await reads(page, "all-42");
    await type(page, "echo again-$((1+1))", "again-2");

    const { stdout } = await api.ask("POST", `/pods/${pod.id}/exec`, { argv: ["cat", "lines"] });
    assert.equal(stdout, Array.from({ length: written }, (_, line) => `${line}\n`).join(""));
    assert.ok(sockets > before, "the terminal has connected anew");
    assert.ok(await page.evaluate(() => globalThis.stays), "the page was not loaded again");
    // The browser itself writes into its console that nobody answered.
    assert.deepEqual(errors.filter((line) => !/net::ERR_|WebSocket connection to/.test(line)), []);
  }),
};
