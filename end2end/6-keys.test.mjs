// Ways into a pod from outside, keys, and what is allowed at GitHub.
import assert from "node:assert/strict";
import { BASE, as, fitsPhone, fresh, hydrated, shows, type } from "./browser.mjs";

const github = (process.env.GITHUB_URL ?? "http://localhost:3001").replace(/\/$/, "");
const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
const FINGERPRINT = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";

async function tell(path, body) {
  const answer = await fetch(`${github}/_dev${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
}

/** As `as`, for somebody who has allowed nothing yet. */
const asNew = (test) => async () => {
  const login = fresh("somebody");
  await tell("/accounts", { login });
  await as(login, (browser) => test({ ...browser, login }))();
};

export default {
  "a pod that runs says how it is opened from elsewhere, and with which keys": asNew(async ({ page, errors, api, login }) => {
    await tell(`/accounts/${login}`, { keys: [KEY] });
    const name = fresh("open");
    const pod = await api.create(name);
    await api.until(pod.id, (pod) => pod.status === "running");
    await page.goto(`${BASE}/pods/${pod.id}`);
    await hydrated(page);
    const open = page.getByRole("region", { name: "Open in" });
    const line = await open.locator("code").innerText();
    assert.match(line, new RegExp(`^ssh -p \\d+ ${name}\\.${pod.owner}@localhost$`));
    await open.getByRole("button", { name: "Copy the ssh command" }).click();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), line);
    const editor = await open.getByRole("link", { name: "VS Code" }).getAttribute("href");
    assert.match(editor, new RegExp(`^vscode://vscode-remote/ssh-remote\\+${name}\\.${pod.owner}@localhost:\\d+/home/dev$`));
    await open.getByRole("link", { name: "Terminal", exact: true }).click();
    await page.waitForURL(`${BASE}/pods/${pod.id}#terminal`);
    await type(page, "echo here-$((6*7))", "here-42");
    await fitsPhone(page);
    await open.getByRole("link", { name: "Keys" }).click();
    await page.getByRole("row", { name: FINGERPRINT }).waitFor();
    await fitsPhone(page);
    await api.ask("POST", `/pods/${pod.id}/stop`);
    await page.goto(`${BASE}/pods/${pod.id}`);
    await shows(page, "Stopped");
    await open.waitFor({ state: "hidden" });
    assert.deepEqual(errors, []);
  }),

  "private repositories are asked for on the way to one, and the pod says which way its git takes": asNew(async ({ page, errors, api, login }) => {
    await page.goto(`${BASE}/pods/new`);
    await hydrated(page);
    await fitsPhone(page);
    await page.getByRole("link", { name: "allow access to repositories" }).click();
    await page.getByRole("button", { name: login }).click();
    await page.waitForURL(`${BASE}/pods/new`);
    await page.getByRole("link", { name: "allow access to repositories" }).waitFor({ state: "detached" });
    await page.goto(`${BASE}/account`);
    await page.getByText("To know who you are, and your repositories.").waitFor();
    const pod = await api.create(fresh("way"), { repository: "owner/node-site" });
    await api.until(pod.id, (pod) => pod.git_access);
    await page.goto(`${BASE}/pods/${pod.id}`);
    await page.getByText("https, without signing in").first().waitFor();
    await page.getByText("no admin of the repository", { exact: false }).waitFor();
    assert.deepEqual(errors, []);
  }),

  "a pod of a private repository has a key of its own, or where none is taken a token, and says so": as("owner", async ({ page, errors, api }) => {
    await page.goto(`${BASE}/auth/github?access=repositories&return_to=/account`);
    await page.getByRole("button", { name: "owner" }).first().click();
    await page.waitForURL(`${BASE}/account`);
    const create = (repository) => api.create(fresh("way"), { repository });
    const [own, locked] = [await create("owner/private"), await create("owner/locked")];
    const git = async ({ id }, words) => {
      // Cloned, whether something of it waits for an approval or not.
      await api.until(id, (pod) => pod.git_access && ["done", "awaiting_approval"].includes(pod.setup.state));
      await page.goto(`${BASE}/pods/${id}`);
      return page.getByRole("region", { name: "Facts" }).getByTitle(words);
    };
    await (await git(own, "Clone, fetch and push over ssh.")).filter({ hasText: "Deploy key of this pod" }).waitFor();
    const token = (await git(locked, "Clone, fetch, and push where the pod's owner may.")).filter({ hasText: "https, with a token each time" });
    await token.getByText("The repository or its organisation takes no deploy keys.").waitFor();
    assert.deepEqual(errors, []);
  }),

  "what GitHub no longer accepts is said on the account's page, and renewed there": asNew(async ({ page, errors, login }) => {
    await tell(`/accounts/${login}`, { revoked: true });
    try {
      // Whoever wants a repository finds it out: its branches are asked for anew, while lists are kept for a moment.
      await page.goto(`${BASE}/pods/new?repository=owner/node-site`);
      await page.goto(`${BASE}/pods/new`);
      await page.getByRole("link", { name: "renew access" }).waitFor();
      await page.goto(`${BASE}/account`);
      const allowed = page.getByRole("region", { name: "Allowed at GitHub" });
      await allowed.getByText("Nothing that GitHub still accepts.").waitFor();
      await fitsPhone(page);
      await allowed.getByRole("link", { name: "Renew access" }).click();
      await page.getByRole("button", { name: login }).click();
      await page.waitForURL(`${BASE}/account`);
      await allowed.getByText("To know who you are, and your repositories.").waitFor();
      assert.equal(await allowed.getByRole("link").count(), 0);
      assert.deepEqual(errors, []);
    } finally {
      await tell(`/accounts/${login}`, { revoked: false });
    }
  }),
};
