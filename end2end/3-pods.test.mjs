// The list, the palette, and what can be done with a pod from its page.
import assert from "node:assert/strict";
import { BASE, MADE, as, except, fitsPhone, fresh, hydrated, open, script, shows, signIn, type } from "./browser.mjs";

const running = (pod) => pod.status === "running";
const row = (page, name) => page.getByRole("row").filter({ has: page.getByRole("link", { name, exact: true }) });

export default {
  async "a list shows at once what another browser does"() {
    const here = await open();
    const there = await open();
    let api;
    try {
      await signIn(here.page, "member");
      await signIn(there.page, "member");
      api = await script(there.page);
      const [kept, name] = [fresh("kept"), fresh("live")];
      await api.create(kept);
      // With no pod at all the page is another one.
      await here.page.goto(`${BASE}/`);
      await hydrated(here.page);
      await row(here.page, kept).waitFor();
      await api.create(name);
      await row(here.page, name).getByText("Running", { exact: true }).waitFor({ timeout: MADE });

      await there.page.goto(`${BASE}/`);
      await hydrated(there.page);
      await there.page.getByRole("button", { name: `Actions for ${name}` }).click();
      await there.page.getByRole("button", { name: "Stop pod", exact: true }).click();
      await row(here.page, name).getByText("Stopped", { exact: true }).waitFor({ timeout: MADE });
      assert.deepEqual([...here.errors, ...there.errors], []);
    } finally {
      await api?.clean();
      await here.close();
      await there.close();
    }
  },

  "a list is searched with /, narrowed by status and tier, and says so in an address that survives a reload": as("two-part-name", async ({ page, errors, api }) => {
    const [up, down] = [fresh("up"), fresh("down")];
    const [first, second] = [await api.create(up), await api.create(down, { tier: "dev.medium" })];
    await api.until(second.id, running);
    await api.ask("POST", `/pods/${second.id}/stop`);
    await api.until(second.id, (pod) => pod.status === "stopped");
    await api.until(first.id, running);
    // The browser hears of the list's own code with the first byte of its page.
    const answer = await page.goto(`${BASE}/`);
    assert.match(answer.headers().link ?? "", /_pods_part\.[^>]*wasm>; rel=preload/);
    await hydrated(page);
    const holds = async (there, gone) => {
      await row(page, there).waitFor();
      await row(page, gone).waitFor({ state: "detached" });
    };
    const kept = async (query, there, gone) => {
      await page.waitForURL(`${BASE}/?${query}`);
      await holds(there, gone);
      await page.reload();
      await hydrated(page);
      await holds(there, gone);
    };
    const statuses = page.getByRole("navigation", { name: "Filter by status" });
    await row(page, up).waitFor();
    await row(page, down).waitFor();

    await statuses.getByRole("link", { name: /^Stopped/ }).click();
    await kept("status=stopped", down, up);
    assert.equal(await statuses.getByRole("link", { name: /^Stopped/ }).getAttribute("aria-current"), "true");

    await statuses.getByRole("link", { name: /^All/ }).click();
    await page.getByLabel("Tier").selectOption("dev.small");
    await kept("tier=dev.small", up, down);
    assert.equal(await page.getByLabel("Tier").inputValue(), "dev.small");
    await page.getByLabel("Tier").selectOption("");
    await row(page, down).waitFor();

    // Whoever types slowly stays in the field while the list follows.
    await page.keyboard.press("/");
    await page.keyboard.type(down.slice(0, 4));
    await page.waitForURL(`${BASE}/?q=${down.slice(0, 4)}`);
    await row(page, up).waitFor({ state: "detached" });
    await page.keyboard.type(down.slice(4));
    await kept(`q=${down}`, down, up);
    assert.equal(await page.getByRole("searchbox", { name: /Search by name/ }).inputValue(), down);

    await statuses.getByRole("link", { name: /^Failed/ }).click();
    await page.getByText(`No pod is failed, named like “${down}”.`).waitFor();
    await page.getByRole("link", { name: "Clear the filters" }).click();
    await holds(up, "nothing");
    await row(page, down).waitFor();
    assert.deepEqual(errors, []);
  }),

  "the palette reaches a pod and an action by keys, and a stopped pod's page offers to start it": as("member", async ({ page, errors, api }) => {
    const name = fresh("palette");
    const pod = await api.create(name);
    await api.until(pod.id, running);
    await page.goto(`${BASE}/account`);
    await hydrated(page);
    const palette = page.getByRole("dialog", { name: "Search or run a command" });

    await page.keyboard.press("Control+K");
    await palette.waitFor();
    await page.keyboard.type(name);
    await palette.getByRole("option", { name }).waitFor();
    await page.keyboard.press("Enter");
    await page.waitForURL(`${BASE}/teams/${pod.team}/pods/${pod.id}`);
    await shows(page, "Running");

    await page.keyboard.press("Control+K");
    await page.keyboard.type(name);
    const stop = palette.getByRole("option", { name: "Stop pod", exact: false });
    await stop.waitFor();
    for (let presses = 0; presses < 10 && (await stop.getAttribute("aria-selected")) !== "true"; presses += 1) await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await palette.waitFor({ state: "hidden" });
    await shows(page, "Stopped");

    await page.getByText("No terminal: the pod is not running.").waitFor();
    await page.getByRole("button", { name: `Start pod ${name}` }).click();
    await shows(page, "Running");
    await type(page, "echo back-$((6*7))", "back-42");
    assert.deepEqual(errors, []);
  }),

  "a pod is renamed and given another tier, a taken name is refused at its field, and deleting asks for the name": as("member", async ({ page, errors, api }) => {
    const [taken, before, after] = [fresh("taken"), fresh("before"), fresh("after")];
    await api.create(taken);
    const pod = await api.create(before);
    await api.until(pod.id, running);
    await page.goto(`${BASE}/pods/${pod.id}`);
    await hydrated(page);
    const change = async () => {
      await page.getByRole("button", { name: "More actions" }).click();
      await page.getByRole("button", { name: "Rename or change tier…" }).click();
    };
    await change();
    const dialog = page.getByRole("dialog", { name: "Rename or change tier" });
    const name = dialog.getByLabel("Name", { exact: true });
    await name.fill(taken);
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.getByText(/already/).waitFor();
    const described = await name.getAttribute("aria-describedby");
    assert.match(await page.locator(`#${described}`).innerText(), /already/, "the message is the field's");
    assert.equal(await name.getAttribute("aria-invalid"), "true");
    await shows(page, before);

    await name.fill(after);
    await dialog.getByRole("radio", { name: "dev.medium" }).check();
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "hidden" });
    await shows(page, after);
    await page.getByText("The new tier takes effect at the next start.").waitFor();
    await page.reload();
    await hydrated(page);
    await shows(page, after);
    await page.getByText("dev.medium, $", { exact: false }).waitFor();

    await page.getByRole("button", { name: "More actions" }).click();
    await page.getByRole("button", { name: "Delete pod…" }).click();
    const typed = page.getByLabel(`Type ${after} to delete it`);
    await typed.fill(before);
    await page.getByRole("button", { name: `Delete pod ${after}` }).click();
    await page.getByText("That is not its name.").waitFor();
    assert.equal((await api.ask("GET", `/pods/${pod.id}`)).desired, "running", "another name deletes nothing");
    await typed.fill(after);
    await page.getByRole("button", { name: `Delete pod ${after}` }).click();
    await shows(page, "Deleted");
    assert.deepEqual(except(errors, 409), []);
  }),

  "of a foreign repository nothing runs before its plan is approved": as("member", async ({ page, errors, api }) => {
    await page.goto(`${BASE}/pods/new`);
    await hydrated(page);
    await page.getByRole("searchbox", { name: /Search your repositories/ }).fill("outsider/charts");
    await page.getByRole("radio", { name: /outsider\/charts/ }).waitFor();
    assert.ok(await page.getByRole("radio", { name: /outsider\/charts/ }).isChecked());
    const name = fresh("foreign");
    await page.getByLabel("Name", { exact: true }).fill(name);
    await page.getByRole("button", { name: `Create pod ${name}` }).click();
    await page.waitForURL(/\/pods\/[0-9a-f-]{36}/);
    api.adopt(page);

    const plan = page.getByRole("region", { name: "Nothing of outsider/charts has run yet" });
    await plan.waitFor({ timeout: MADE });
    await plan.getByText("python3 chart.py", { exact: true }).first().waitFor();
    await plan.getByText("pinacle.yaml", { exact: true }).first().waitFor();
    await fitsPhone(page);
    await page.reload();
    await hydrated(page);
    const drawn = page.getByRole("log", { name: "Log" }).getByText(/^east\s+#+ 19$/);
    await page.getByRole("log", { name: "Log" }).getByText("Cloning into").first().waitFor();
    assert.equal(await drawn.count(), 0, "the install has not run");
    await type(page, "ls charts; git -C charts status --short | wc -l", "chart.py");

    await plan.getByRole("button", { name: "Approve and run" }).click();
    await drawn.first().waitFor({ timeout: MADE });
    await plan.waitFor({ state: "detached" });
    await page.locator("main .head").getByText("Set-up waits for you").waitFor({ state: "detached" });
    assert.deepEqual(errors, []);
  }),

  "without a mouse: a pod is created, worked in and left": as("owner", async ({ page, errors, api }) => {
    const keys = page.keyboard;
    const isFocused = (locator) => locator.evaluate((element) => element === document.activeElement);
    const tabTo = async (locator) => {
      await locator.waitFor();
      for (let presses = 0; presses < 60; presses += 1) {
        if (await isFocused(locator)) return;
        await keys.press("Tab");
      }
      throw new Error("sixty times Tab do not lead there");
    };
    await page.goto(`${BASE}/`);
    await hydrated(page);
    await keys.press("n");
    await page.waitForURL(`${BASE}/pods/new`);
    await tabTo(page.getByRole("searchbox", { name: /Search your repositories/ }));
    await keys.type("python");
    const service = page.getByRole("radio", { name: /owner\/python-service/ });
    await service.waitFor();
    // Radios are one stop: the arrows choose.
    await keys.press("Tab");
    for (let presses = 0; presses < 5 && !(await service.isChecked()); presses += 1) await keys.press("ArrowUp");
    assert.ok(await service.isChecked(), "the arrows reach the repository");
    const name = fresh("keys");
    await tabTo(page.getByLabel("Name", { exact: true }));
    await keys.press("Control+A");
    await keys.type(name);
    await tabTo(page.getByRole("button", { name: `Create pod ${name}` }));
    await keys.press("Enter");
    await page.waitForURL(/\/pods\/[0-9a-f-]{36}/);
    api.adopt(page);

    await shows(page, "Running");
    await hydrated(page);
    const inside = page.locator("pinacle-terminal .xterm-helper-textarea");
    await inside.waitFor({ state: "attached" });
    await keys.press("t");
    await page.waitForFunction(() => document.activeElement?.matches(".xterm-helper-textarea"));
    await type(page, "echo typed-$((6*7))", "typed-42");
    await keys.press("Shift+Escape");
    assert.ok(!(await isFocused(inside)), "Shift+Esc leaves the terminal");
    await keys.press("Shift+S");
    await shows(page, "Stopped");
    assert.deepEqual(errors, []);
  }),
};
