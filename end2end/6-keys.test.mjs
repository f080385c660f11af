// Ways into a pod from outside, keys, and what is allowed at GitHub.
import assert from "node:assert/strict";
import { BASE, as, fitsPhone, fresh, hydrated, shows } from "./browser.mjs";

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
};
