// The operators' page, the account, and every page on a phone.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { BASE, SOON, as, except, fitsPhone, fresh, hydrated, open, script, signIn } from "./browser.mjs";

/** What no page and no API lets a test do. */
const sql = (statement) => promisify(execFile)("psql", [process.env.DATABASE_URL, "-v", "ON_ERROR_STOP=1", "-qc", statement]);

export default {
  "an operator adds a host, sees its token once, and a host's pods and keys": as("operator", async ({ page, errors, api }) => {
    const pods = [await api.create(fresh("mine"))];
    const pod = await api.until(pods[0].id, (pod) => pod.host);
    await page.goto(`${BASE}/hosts`);
    await hydrated(page);
    const name = fresh("spare-");
    await page.getByRole("button", { name: "Add a host" }).click();
    const dialog = page.getByRole("dialog", { name: "Add a host" });
    await dialog.getByLabel("Name").fill("Not a name");
    await dialog.getByLabel("Address").fill(`${name}.example.test`);
    await dialog.getByRole("button", { name: "Add host" }).click();
    await page.waitForFunction((field) => field.getAttribute("aria-invalid") === "true", await dialog.getByLabel("Name").elementHandle());
    await dialog.getByLabel("Name").fill(name);
    await dialog.getByRole("button", { name: "Add host" }).click();
    await dialog.getByText("pinacle-host join", { exact: false }).waitFor();
    await dialog.getByRole("button", { name: "Copy the token" }).click();
    const token = await page.evaluate(() => navigator.clipboard.readText());
    assert.ok(token.length > 20, "there is a token");
    assert.ok((await dialog.innerText()).includes(token));
    assert.ok(!(await dialog.getByText("pinacle-host join", { exact: false }).innerText()).includes(token), "the token is no argument");
    await dialog.getByText("Waiting for the machine to report").waitFor();
    await dialog.getByRole("button", { name: "Close", exact: true }).last().click();
    const added = page.getByRole("row").filter({ hasText: name });
    await added.getByText("Joining").waitFor();
    await page.getByRole("button", { name: "Add a host" }).click();
    assert.ok(!(await dialog.innerText()).includes(token), "a closed dialog has forgotten it");
    await page.keyboard.press("Escape");
    await page.reload();
    await hydrated(page);
    assert.ok(!(await page.content()).includes(token), "it is shown once");

    await page.getByRole("link", { name: pod.host, exact: true }).click();
    await page.waitForURL(`${BASE}/hosts?host=${pod.host}`);
    await page.getByRole("region", { name: `Pods on ${pod.host}` }).getByRole("link", { name: pod.name }).waitFor();
    await page.getByRole("region", { name: `Keys that ${pod.host} may show` }).getByText(/^SHA256:/).first().waitFor();

    await page.getByRole("button", { name: `Actions for ${name}` }).click();
    await page.getByRole("button", { name: `Mark lost: ${name}` }).click();
    await page.getByLabel(`Type ${name} to mark it lost`).fill(name);
    await page.getByRole("button", { name: `Mark ${name} lost` }).click();
    await added.getByText("Lost", { exact: true }).waitFor();
    assert.deepEqual(except(errors, 422), []);
  }),

  async "disks that belong to nobody are listed, and adopting one asks for an owner who is here"() {
    const { page, errors, close } = await open();
    let writing;
    try {
      await signIn(page, "operator");
      const pod = crypto.randomUUID();
      const found = { pod, set_aside: Math.floor(Date.now() / 1000) - 90_000, disk_bytes: 2_400_000_000 };
      const short = `${pod.slice(0, 8)}…${pod.slice(-4)}`;
      // What a host reports replaces it every few seconds.
      const write = () => sql(`UPDATE hosts SET inventory = jsonb_set(inventory, '{orphans}', '[${JSON.stringify(found)}]') WHERE name = 'host1'`);
      await write();
      writing = setInterval(() => write().catch((error) => console.warn(error.message)), 500);
      const orphan = page.getByRole("region", { name: "On a host, but not in Pinacle" }).getByRole("row").filter({ hasText: short });
      // A report of the host's own that comes between the page's two questions leaves the list empty: another visit.
      for (let visits = 1; ; visits += 1) {
        await page.goto(`${BASE}/hosts`);
        const seen = await orphan.waitFor({ timeout: SOON / 3 }).then(() => true, () => false);
        if (seen || visits === 3) break;
      }
      await orphan.getByText("5 d", { exact: true }).waitFor();
      await orphan.getByText(/^2\.\d+ GB$/).waitFor();
      await hydrated(page);
      await fitsPhone(page);
      await page.getByRole("button", { name: `Adopt ${short}` }).click();
      const dialog = page.getByRole("dialog", { name: "Adopt a disk" });
      await dialog.getByLabel("Owner").fill("nobody-of-that-name");
      await dialog.getByLabel("Name").fill("found");
      await dialog.getByRole("button", { name: "Adopt", exact: true }).click();
      await dialog.getByRole("alert").or(dialog.locator("#owner-adopt")).filter({ hasText: /\w/ }).first().waitFor();
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "hidden" });
      assert.deepEqual(errors.filter((line) => !/status of 4\d\d/.test(line)), []);
    } finally {
      clearInterval(writing);
      await close();
    }
  },

  "a page whose code an older release's frame can't load any more is loaded whole": as("member", async ({ page, errors }) => {
    await page.goto(BASE);
    await hydrated(page);
    await page.evaluate(() => (window.before = true));
    // As its server would answer after a newer release, this once.
    await page.route(/_account_part\./, (route) => route.fulfill({ status: 404, body: "" }), { times: 1 });
    await page.getByRole("button", { name: /^Account: / }).click();
    await page.locator("#account").getByRole("link", { name: "API tokens" }).click();
    await page.waitForURL(/\/account#tokens$/);
    await page.getByRole("heading", { name: "API tokens" }).waitFor();
    await hydrated(page);
    assert.equal(await page.evaluate(() => window.before), undefined);
    assert.ok(errors.some((line) => line.includes("status of 404")));
    // And says that there is no such file, rather than leading somebody without a session to sign in.
    const answer = await page.request.get(`${BASE}/pkg/gone.wasm`, { headers: { cookie: "" }, maxRedirects: 0 });
    assert.deepEqual([answer.status(), answer.headers()["cache-control"]], [404, "no-store"]);
  }),

  "the frame's own ways lead somewhere from every page": as("member", async ({ page, errors }) => {
    await page.goto(`${BASE}/account`);
    await hydrated(page);
    await page.keyboard.press("?");
    const keys = page.getByRole("dialog", { name: "Keys" });
    await keys.waitFor();
    await page.keyboard.press("Escape");
    await keys.waitFor({ state: "hidden" });
    // The next stop behind the skip link is in the page, not in the bar.
    await page.getByRole("link", { name: "Skip to content" }).focus();
    await page.keyboard.press("Enter");
    await page.waitForURL(`${BASE}/account#main`);
    await page.keyboard.press("Tab");
    assert.ok(await page.evaluate(() => document.activeElement.closest("main") !== null));
    // A menu goes with the page that it was opened on.
    await page.getByRole("button", { name: /^Account: / }).click();
    const menu = page.locator("#account");
    await menu.getByRole("link", { name: "API tokens" }).click();
    await menu.waitFor({ state: "hidden" });
    assert.deepEqual(errors, []);
  }),

  "Enter in the search for a repository chooses, and makes no pod": as("owner", async ({ page, errors }) => {
    await page.goto(`${BASE}/pods/new`);
    await hydrated(page);
    const search = page.getByRole("searchbox", { name: "Search your repositories or paste an address" });
    await search.fill("node-site");
    await search.press("Enter");
    await page.waitForFunction(() => document.querySelector("input[type=radio][value='owner/node-site']")?.checked);
    assert.ok(page.url().startsWith(`${BASE}/pods/new`), page.url());
    assert.deepEqual(errors, []);
  }),

  async "a handle is changed, a taken one refused at its field, and a theme is kept"() {
    const { page, errors, close } = await open({ colorScheme: "light" });
    const other = await open();
    try {
      await signIn(other.page, "owner");
      await signIn(page, "two-part-name");
      await page.goto(`${BASE}/account`);
      await hydrated(page);
      const handle = fresh("tova-");
      const field = page.getByRole("textbox", { name: /Stands in the addresses/ });
      const change = page.getByRole("button", { name: "Change handle" });
      await field.fill("owner");
      await change.click();
      await page.waitForFunction((field) => field.getAttribute("aria-invalid") === "true", await field.elementHandle());
      assert.notEqual((await page.locator("#handle-wrong").innerText()).trim(), "", "its message is the field's");
      await field.fill(handle);
      await change.click();
      await page.locator("main .head").getByText(handle, { exact: true }).waitFor();
      await page.reload();
      await hydrated(page);
      await page.locator("main .head").getByText(handle, { exact: true }).waitFor();
      assert.equal(await field.inputValue(), handle);

      const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const light = await paper();
      await Promise.all([
        page.waitForResponse((answer) => answer.url().includes("/fn/account/theme")),
        page.getByRole("region", { name: "Appearance" }).getByRole("radio", { name: "Dark", exact: true }).check(),
      ]);
      const dark = await paper();
      assert.notEqual(dark, light);
      const answer = await page.reload();
      assert.match(await answer.text(), /<html[^>]*data-theme="dark"/, "the first paint is dark already");
      assert.equal(await paper(), dark);
      await hydrated(page);
      assert.equal(await paper(), dark);
      await page.getByRole("region", { name: "Appearance" }).getByRole("radio", { name: "System" }).check();
      assert.deepEqual(except(errors, 409), []);
    } finally {
      await other.close();
      await close();
    }
  },

  async "no page scrolls sideways on a phone"() {
    const { page, errors, close } = await open({ viewport: { width: 375, height: 800 } });
    let api;
    try {
      for (const reason of ["", "?error=consent_refused", "?error=no_verified_email", "?error=not_invited", "?error=github_down"]) {
        await page.goto(`${BASE}/sign-in${reason}`);
        await fitsPhone(page);
      }
      await signIn(page, "operator");
      await page.goto(`${BASE}/`);
      await fitsPhone(page);
      api = await script(page);
      const pod = await api.create(fresh("narrow"), { repository: "owner/node-site" });
      await api.until(pod.id, (pod) => pod.status === "running");
      for (const path of ["/", "/?status=failed", "/pods/new", "/pods/new?repository=owner/node-site", `/pods/${pod.id}`, `/pods/${pod.id}?delete`, "/account", "/hosts", `/hosts?host=host1`]) {
        await page.goto(`${BASE}${path}`);
        await hydrated(page);
        await fitsPhone(page);
      }
      assert.deepEqual(errors, []);
      const answer = await page.goto(`${BASE}/nothing-is-here/and-its-address-is-a-very-long-one-that-could-push-the-page-apart`);
      assert.equal(answer.status(), 404);
      await hydrated(page);
      await fitsPhone(page);
    } finally {
      await api?.clean();
      await close();
    }
  },
};
