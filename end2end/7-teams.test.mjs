// A team from nothing: made, joined from a second browser by a link, used together, and left at once.
import assert from "node:assert/strict";
import { BASE, addSecret, except, fitsPhone, fresh, hydrated, open, script, shows, signIn, type } from "./browser.mjs";

/** A new team of whoever is signed in in `page`, by its pages; its address. */
async function makeTeam(page, name) {
  await page.goto(`${BASE}/teams/new`);
  await hydrated(page);
  await page.getByRole("textbox", { name: "Name" }).fill(name);
  await page.getByRole("button", { name: "Create team" }).click();
  await page.waitForURL(new RegExp(`/teams/${name}$`));
  await page.getByRole("heading", { name, level: 1 }).waitFor();
  return `${BASE}/teams/${name}`;
}

/** Deletes the team by its page, with what pods it has. */
async function endTeam(page, team, name) {
  await page.goto(team);
  await hydrated(page);
  await page.getByRole("button", { name: "More actions" }).click();
  await page.getByRole("button", { name: "Delete team…" }).click();
  const dialog = page.getByRole("dialog", { name: `Delete ${name}?` });
  await dialog.getByLabel(/^Type/).fill(name);
  await dialog.getByRole("button", { name: /^Delete team/ }).click();
  await page.waitForURL(`${BASE}/`);
}

export default {
  async "a team from nothing: invited by a link, joined from another browser, its pod used by both, and the terminal of who is removed closes"() {
    const owner = await open();
    const member = await open();
    const name = fresh("acme");
    try {
      await signIn(owner.page, "owner");
      await signIn(member.page, "member");
      const team = await makeTeam(owner.page, name);
      await hydrated(owner.page);
      await owner.page.getByLabel("GitHub login or e-mail address").fill("nobody-of-that-name");
      await owner.page.getByRole("button", { name: `Invite to ${name}` }).click();
      await owner.page.getByText("GitHub has no account of this login.").waitFor();
      await owner.page.getByLabel("GitHub login or e-mail address").fill("member");
      await owner.page.getByRole("button", { name: `Invite to ${name}` }).click();
      const made = owner.page.getByRole("dialog", { name: "Invitation of member" });
      const link = (await made.locator("code").innerText()).trim();
      assert.match(link, /\/invitations\/[\w-]{43}$/);
      await made.getByRole("button", { name: "Done" }).click();
      await owner.page.getByRole("row").filter({ hasText: "member" }).getByText(/ends in/).waitFor();

      // The link is this account's alone.
      const outsider = await open();
      try {
        await signIn(outsider.page, "outsider");
        const answer = await outsider.page.goto(link);
        assert.equal(answer.status(), 403);
        await outsider.page.getByText("This invitation is for another account.", { exact: false }).waitFor();
      } finally {
        await outsider.close();
      }
      await member.page.goto(link);
      await hydrated(member.page);
      await member.page.getByRole("button", { name: `Join ${name}` }).click();
      await member.page.waitForURL(`${team}/pods`);
      // The owner's page follows.
      const row = owner.page.locator("#members").getByRole("row").filter({ has: owner.page.getByRole("button", { name: "Remove member" }) });
      await row.waitFor();
      await owner.page.getByText("Nobody is invited.", { exact: false }).waitFor();

      // A secret of the team's: its member sees the name, and no way to change it.
      await owner.page.getByRole("navigation", { name: "Pinacle" }).getByRole("link", { name: "Secrets" }).click();
      await owner.page.waitForURL(`${team}/secrets`);
      await hydrated(owner.page);
      const [secret, value] = [fresh("KEY").toUpperCase(), fresh("value")];
      await addSecret(owner.page, secret, value);
      await member.page.goto(`${team}/secrets`);
      await member.page.getByRole("row").filter({ hasText: secret }).waitFor();
      assert.equal(await member.page.getByRole("button", { name: /Add secret|Replace/ }).count(), 0);
      await member.page.getByText("so members can read what their pods get.", { exact: false }).waitFor();
      await member.page.goto(`${team}/pods`);
      await hydrated(member.page);

      // A pod made in the team is there for both; the address says whose it is.
      await owner.page.goto(`${team}/pods/new`);
      await hydrated(owner.page);
      const pod = fresh("pod");
      await owner.page.getByLabel("Name").fill(pod);
      assert.equal(await owner.page.getByLabel("Team").locator("option:checked").innerText(), name);
      await owner.page.getByRole("button", { name: /^Create pod/ }).click();
      await owner.page.waitForURL(new RegExp(`/teams/${name}/pods/[0-9a-f-]{36}`));
      await shows(owner.page, "Running");
      await member.page.getByRole("link", { name: pod, exact: true }).click();
      await member.page.waitForURL(new RegExp(`/teams/${name}/pods/[0-9a-f-]{36}`));
      await shows(member.page, "Running");
      await member.page.getByText(secret).first().waitFor();
      await type(member.page, `echo "<$${secret}>"`, `<${value}>`);

      // Removed, what it has open closes.
      await owner.page.goto(team);
      await hydrated(owner.page);
      await row.getByRole("button", { name: "Remove member" }).click();
      const dialog = owner.page.getByRole("dialog", { name: `Remove member from ${name}?` });
      await dialog.getByLabel(/^Type/).fill("member");
      await dialog.getByRole("button", { name: "Remove member" }).click();
      await row.waitFor({ state: "detached" });
      await member.page.getByText(/not in this pod’s team any more|not in this pod's team any more/).first().waitFor({ timeout: 2_000 });
      for (const path of [team, `${team}/pods`, `${team}/pods/new`, `${team}/secrets`]) {
        const gone = await member.page.goto(path);
        assert.equal(gone.status(), 404, path);
        await member.page.getByRole("heading", { name: "Nothing here that you can see" }).waitFor();
        // In the one main part that a page has, which is where "Skip to content" leads.
        assert.equal(await member.page.getByRole("main").count(), 1, path);
      }

      // It is told, filtered, and taken away as a file.
      const told = owner.page.locator("#activity");
      await told.getByRole("row").filter({ hasText: "removed member" }).waitFor();
      await told.getByLabel("Kind").selectOption("pods");
      await told.getByRole("row").filter({ hasText: "removed member" }).waitFor({ state: "detached" });
      await told.getByRole("row").filter({ hasText: `created pod ${pod}` }).waitFor();
      const [file] = await Promise.all([owner.page.waitForEvent("download"), told.getByRole("link", { name: "CSV" }).click()]);
      assert.equal(file.suggestedFilename(), "activity.csv");
      await endTeam(owner.page, team, name);
      // The login that nobody has, and the team that is gone; what was the member's to see no more.
      assert.deepEqual(except(except(owner.errors, 422), 404), []);
      assert.deepEqual(except(member.errors, 404), []);
    } finally {
      await owner.close();
      await member.close();
    }
  },

  async "an invitation is revoked and a role changed; the pods of who leaves, and of who is removed, are taken over"() {
    const owner = await open();
    const member = await open();
    const name = fresh("kept");
    let mine, theirs, id;
    try {
      await signIn(owner.page, "owner");
      await signIn(member.page, "member");
      [mine, theirs] = [await script(owner.page), await script(member.page)];
      const me = await mine.ask("GET", "/me");
      ({ id } = await mine.ask("POST", "/teams", { name }));
      const team = `${BASE}/teams/${name}`;
      const invite = () => mine.ask("POST", `/teams/${id}/invitations`, { github_login: "member", role: "member" });
      const join = async () => theirs.ask("POST", `/invitations/${(await invite()).code}`);
      const ownerOf = async (pod) => (await mine.ask("GET", `/pods/${pod.id}`)).owner_id;
      const told = (words) => owner.page.locator("#activity").getByRole("row").filter({ hasText: words }).waitFor();

      const { url } = await invite();
      await owner.page.goto(team);
      await hydrated(owner.page);
      await owner.page.getByRole("button", { name: "Revoke the invitation of member" }).click();
      await owner.page.getByText("Nobody is invited.", { exact: false }).waitFor();
      await told("revoked the invitation of member");
      assert.equal((await member.page.goto(url)).status(), 409);
      await member.page.getByText("This invitation was revoked.", { exact: false }).waitFor();

      // The page of whoever has the role follows.
      await join();
      await member.page.goto(team);
      await hydrated(member.page);
      const manages = member.page.getByRole("heading", { name: "Invitations" });
      assert.equal(await manages.count(), 0);
      const role = owner.page.getByLabel("Role of member");
      await role.selectOption("owner");
      await manages.waitFor();
      await told("made member an owner");
      await role.selectOption("member");
      await manages.waitFor({ state: "detached" });
      await told("made member a member");
      // A team keeps an owner: what was chosen goes back.
      const own = owner.page.getByLabel("Role of owner");
      await own.selectOption("member");
      await owner.page.getByText("owner is the only owner, and a team keeps one.", { exact: false }).waitFor();
      assert.equal(await own.inputValue(), "owner");

      const first = await theirs.create(fresh("left"), { team_id: id });
      await member.page.getByRole("button", { name: "Leave the team" }).click();
      await member.page.getByRole("dialog", { name: `Leave ${name}?` }).getByRole("button", { name: "Leave team" }).click();
      await member.page.waitForURL(`${BASE}/`);
      assert.equal((await member.page.goto(team)).status(), 404);
      const left = owner.page.locator("main .note").filter({ hasText: "A pod has lost its owner" });
      await left.getByText(`${first.name} of member`, { exact: false }).waitFor();
      assert.notEqual(await ownerOf(first), me.id);
      await left.getByRole("button", { name: "Take over the pod" }).click();
      await owner.page.getByText("1 pod is yours now.").waitFor();
      await left.waitFor({ state: "detached" });
      assert.equal(await ownerOf(first), me.id);

      // With the tick, which is there from the beginning, no pod loses its owner.
      await join();
      const second = await theirs.create(fresh("left"), { team_id: id });
      const remove = owner.page.locator("#members").getByRole("button", { name: "Remove member" });
      await remove.click();
      const dialog = owner.page.getByRole("dialog", { name: `Remove member from ${name}?` });
      const takes = dialog.getByRole("checkbox", { name: `Take over ${second.name}` });
      await takes.waitFor();
      assert.ok(await takes.isChecked());
      await dialog.getByLabel(/^Type/).fill("member");
      await dialog.getByRole("button", { name: "Remove member" }).click();
      await remove.waitFor({ state: "detached" });
      assert.equal(await ownerOf(second), me.id);
      assert.equal(await left.count(), 0);
      assert.deepEqual(except(owner.errors, 409), []);
      // The link that was revoked, and the team that it has left.
      assert.deepEqual(except(except(member.errors, 409), 404), []);
    } finally {
      // With the pods, whosever they are by now.
      if (id) await mine.ask("DELETE", `/teams/${id}?with_pods_of=${name}`).catch((error) => console.warn(`not deleted: ${error.message}`));
      await owner.close();
      await member.close();
    }
  },

  async "the switcher and the palette reach every team, and their pages fit a phone"() {
    const { page, errors, close } = await open();
    const name = fresh("apex");
    try {
      await signIn(page, "two-part-name");
      const team = await makeTeam(page, name);
      await hydrated(page);
      await page.getByRole("button", { name: `Team: ${name}` }).click();
      await page.getByRole("link", { name: "All teams" }).click();
      await page.waitForURL(`${BASE}/`);
      await page.getByRole("button", { name: "Team: All teams" }).click();
      await page.getByRole("link", { name, exact: true }).click();
      await page.waitForURL(`${team}/pods`);
      await page.keyboard.press("Control+K");
      await page.getByRole("combobox").fill(name);
      await page.getByRole("option", { name: new RegExp(`Members and activity of ${name}`) }).click();
      await page.waitForURL(team);
      // Another name; the address stays.
      await page.getByRole("button", { name: "Rename" }).click();
      await page.getByRole("dialog").getByLabel("Name").fill(`${name} two`);
      await page.getByRole("button", { name: "Rename team" }).click();
      await page.getByRole("heading", { name: `${name} two`, level: 1 }).waitFor();
      await page.getByRole("button", { name: `Team: ${name} two` }).waitFor();
      for (const path of [team, `${team}/pods`, `${team}/pods/new`, `${BASE}/teams/new`]) {
        await page.goto(path);
        await hydrated(page);
        await fitsPhone(page);
      }
      await endTeam(page, team, `${name} two`);
      assert.deepEqual(errors, []);
    } finally {
      await close();
    }
  },

  async "a team is made and joined without JavaScript"() {
    const owner = await open({ javaScriptEnabled: false });
    const guest = await open({ javaScriptEnabled: false });
    const name = fresh("plain");
    const scripted = await open();
    let api;
    try {
      await signIn(owner.page, "owner");
      await signIn(guest.page, "outsider");
      await signIn(scripted.page, "owner");
      api = await script(scripted.page);
      await owner.page.goto(`${BASE}/teams/new`);
      await owner.page.getByLabel("Name").fill("x\u202e");
      await owner.page.getByRole("button", { name: "Create team" }).click();
      await owner.page.getByText("No line breaks", { exact: false }).waitFor();
      await owner.page.getByLabel("Name").fill(name);
      await owner.page.getByRole("button", { name: "Create team" }).click();
      await owner.page.waitForURL(`${BASE}/teams/${name}`);
      const { items } = await api.ask("GET", "/teams");
      const { id } = items.find((team) => team.slug === name);
      // What is refused is said on the page, and its address stays clean.
      await owner.page.getByLabel("GitHub login or e-mail address").fill("nobody-of-that-name");
      await owner.page.getByRole("button", { name: `Invite to ${name}` }).click();
      await owner.page.getByRole("status").getByText("GitHub has no account of this login", { exact: false }).waitFor();
      assert.equal(owner.page.url(), `${BASE}/teams/${name}`);
      await owner.page.reload();
      await owner.page.getByRole("heading", { name: "Members" }).waitFor();
      assert.equal(await owner.page.getByText("GitHub has no account of this login", { exact: false }).count(), 0, "it is said once");
      await owner.page.getByLabel("GitHub login or e-mail address").fill("outsider");
      await owner.page.getByRole("button", { name: `Invite to ${name}` }).click();
      await owner.page.getByRole("heading", { name: "Invitation of outsider" }).waitFor();
      const old = await owner.page.locator(".copyline code").textContent();
      await scripted.page.goto(old);
      await fitsPhone(scripted.page);
      // Sent again: the link before says that it is old.
      await owner.page.getByRole("link", { name: "To the team" }).click();
      await owner.page.getByRole("button", { name: "Send the invitation of outsider again" }).click();
      await owner.page.getByRole("heading", { name: "Invitation of outsider" }).waitFor();
      const url = await owner.page.locator(".copyline code").textContent();
      await guest.page.goto(old);
      await guest.page.getByText("This link is an old one", { exact: false }).waitFor();
      await guest.page.goto(url);
      await guest.page.getByRole("button", { name: `Join ${name}` }).click();
      await guest.page.waitForURL(`${BASE}/teams/${name}/pods`);
      await owner.page.goto(`${BASE}/teams/${name}`);
      await owner.page.locator("#members").getByRole("row").filter({ has: owner.page.getByRole("button", { name: "Remove outsider" }) }).waitFor();
      await api.ask("DELETE", `/teams/${id}`);
    } finally {
      await api?.clean();
      await owner.close();
      await guest.close();
      await scripted.close();
    }
  },
};
