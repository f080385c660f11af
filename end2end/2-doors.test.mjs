// Signing in and out, what a stranger sees, the account page and the operators' page.
import assert from "node:assert/strict";
import { BASE, hydrated, open, signIn } from "./browser.mjs";

export default {
  async "who is not signed in is asked to, and comes back to where they were going"() {
    const { page, errors, close } = await open();
    try {
      await page.goto(`${BASE}/account`);
      await page.waitForURL(/\/sign-in/);
      await page.getByRole("link", { name: /with GitHub/ }).first().click();
      await page.getByRole("button", { name: "two-part-name" }).click();
      await page.waitForURL(`${BASE}/account`);
      assert.deepEqual(errors, []);
    } finally {
      await close();
    }
  },

  async "a refused consent is a page with a sentence and a way on"() {
    const { page, close } = await open();
    try {
      await page.goto(`${BASE}/sign-in`);
      await page.getByRole("link", { name: /with GitHub/ }).first().click();
      await page.getByRole("button", { name: "Cancel" }).click();
      await page.getByRole("heading", { name: "GitHub says that you declined" }).waitFor();
      await page.getByRole("link", { name: /Continue with GitHub/ }).waitFor();
    } finally {
      await close();
    }
  },

  async "hosts are shown to operators and to nobody else"() {
    const operator = await open();
    const outsider = await open();
    try {
      await signIn(operator.page, "operator");
      await operator.page.goto(`${BASE}/hosts`);
      await operator.page.getByText("host1", { exact: true }).first().waitFor();
      assert.deepEqual(operator.errors, []);
      await signIn(outsider.page, "outsider");
      const answer = await outsider.page.goto(`${BASE}/hosts`);
      assert.equal(answer.status(), 404);
      assert.equal(await outsider.page.getByText("host1", { exact: true }).count(), 0);
    } finally {
      await operator.close();
      await outsider.close();
    }
  },

  async "a token is shown once, and a browser that was signed out elsewhere is out"() {
    const here = await open();
    const there = await open();
    try {
      await signIn(here.page, "outsider");
      await signIn(there.page, "outsider");
      await here.page.goto(`${BASE}/account`);
      await hydrated(here.page);
      await here.page.getByRole("button", { name: /Sign out everywhere/i }).first().click();
      const sure = here.page.getByRole("dialog").getByRole("button", { name: /Sign out/i });
      if (await sure.count()) await sure.first().click();
      await here.page.waitForURL(/\/sign-in/);
      await there.page.goto(`${BASE}/account`);
      await there.page.waitForURL(/\/sign-in/);
    } finally {
      await here.close();
      await there.close();
    }
  },
};
