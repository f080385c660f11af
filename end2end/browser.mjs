// A real Chromium, and pages that fail a test when they log an error.
import { mkdtemp, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

export const BASE = process.env.BASE_URL ?? "http://localhost:3000";
const CHROMIUM = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome", "/usr/bin/chromium-browser"].find((path) => path && existsSync(path));
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
// Milliseconds within which a page has to show what it is asked for.
export const SOON = 15_000;
// Within which a pod is made, set up, stopped or deleted, on a busy machine of two cores.
export const MADE = 120_000;

// What each page's console said went wrong.
const complaints = new WeakMap();

/** A browser of its own, without cookies. `options` are those of a Playwright context. */
export async function open(options = {}) {
  const profile = await mkdtemp(join(tmpdir(), "pinacle-end2end-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: FLAGS,
    viewport: { width: 1280, height: 900 },
    permissions: ["clipboard-read", "clipboard-write"],
    ...options,
  });
  context.setDefaultTimeout(SOON);
  const errors = [];
  const watch = (page) => {
    complaints.set(page, errors);
    page.on("response", (response) => response.status() >= 500 && errors.push(`${page.url()}: ${response.url()} answered ${response.status()}`));
    page.on("console", (message) => message.type() === "error" && errors.push(`${page.url()}: ${message.text()}`));
    page.on("pageerror", (error) => errors.push(`${page.url()}: ${error}`));
  };
  context.pages().forEach(watch);
  context.on("page", watch);
  return {
    context,
    page: context.pages()[0] ?? (await context.newPage()),
    errors,
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

/** Signs an account of the stand-in in, as a person would: by its buttons. */
export async function signIn(page, login, path = "/") {
  await page.goto(`${BASE}${path}`);
  await page.getByRole("link", { name: /with GitHub/ }).first().click();
  await page.getByRole("link", { name: login, exact: false }).or(page.getByRole("button", { name: login, exact: false })).first().click();
  await page.waitForURL(`${BASE}${path}**`);
}

/** A name that no pod, host or handle has yet: a word and letters that change with the time. */
let given = 0;
export const fresh = (word) => `${word}${(Date.now() * 10 + (given++ % 10)).toString(36).slice(-7)}`;

/** The REST API as whoever is signed in in `page`: what a test needs but is not about. `clean` deletes the pods it made. */
export async function script(page) {
  const made = await page.evaluate(async () => {
    const body = new URLSearchParams({ name: "browser tests", scope: "write", expires_days: "1" });
    const answer = await fetch("/fn/account/create-token", { method: "POST", headers: { accept: "application/json" }, body });
    return answer.json();
  });
  const ask = async (method, path, body) => {
    const headers = { authorization: `Bearer ${made.token}`, "content-type": "application/json", "idempotency-key": crypto.randomUUID() };
    const answer = await fetch(`${BASE}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(SOON) });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? undefined : answer.json();
  };
  const pods = [];
  return {
    ask,
    async create(name, more = {}) {
      const pod = await ask("POST", "/pods", { name, tier: "dev.small", ...more });
      pods.push(pod.id);
      return pod;
    },
    /** Asks until the pod is as `is` wants it. */
    async until(id, is) {
      const end = Date.now() + MADE;
      for (;;) {
        const pod = await ask("GET", `/pods/${id}`);
        if (is(pod)) return pod;
        if (Date.now() > end) throw new Error(`${pod.name} is ${pod.status}, its set-up ${JSON.stringify(pod.setup)}`);
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    },
    /** One that the test made by the pages. */
    adopt: (page) => pods.push(new URL(page.url()).pathname.split("/").at(-1)),
    async clean() {
      for (const id of pods) await ask("DELETE", `/pods/${id}`).catch((error) => error.message.includes(": 404 ") || console.warn(`not deleted: ${error.message}`));
    },
  };
}

/** A test of one signed-in account in a browser of its own (`options` as for `open`); the pods that it made go with it. */
export const as = (login, test, options) => async () => {
  const browser = await open(options);
  let api;
  try {
    await signIn(browser.page, login);
    api = await script(browser.page);
    await test({ ...browser, api });
  } finally {
    await api?.clean();
    await browser.close();
  }
};

/** The head of a pod's page says `word`. */
export const shows = (page, word, timeout = MADE) => page.locator("main .head").getByText(word, { exact: true }).first().waitFor({ timeout });

/** What was complained of, but for answers that the test asked for: the browser itself writes each refusal into its console. */
export const except = (errors, status) => errors.filter((line) => !line.includes(`status of ${status} (`));

const ROWS = "pinacle-terminal .xterm-rows";

/** The terminal that is open shows `text`. */
export async function reads(page, text, timeout = SOON) {
  try {
    await page.waitForFunction(([rows, text]) => document.querySelector(rows)?.innerText.includes(text), [ROWS, text], { timeout });
  } catch (cause) {
    const screen = await page.locator(ROWS).innerText().catch(() => "there is no terminal");
    throw new Error(`the terminal does not show “${text}”, but:\n${screen.trimEnd()}`, { cause });
  }
}

/** Types a line into the terminal that is open, and waits for what it answers. */
export async function type(page, line, expected) {
  await page.locator("pinacle-terminal .xterm-helper-textarea").focus();
  await page.keyboard.type(`${line}\n`);
  await reads(page, expected);
}

/** Adds a secret on the page of its team that is open. */
export async function addSecret(page, name, value) {
  await page.getByRole("button", { name: "Add secret", exact: true }).first().click();
  const dialog = page.getByRole("dialog", { name: "Add secret" });
  await dialog.getByLabel("Name", { exact: true }).fill(name);
  await dialog.getByLabel("Value", { exact: true }).fill(value);
  await dialog.getByRole("button", { name: "Add secret", exact: true }).click();
  await page.getByRole("row").filter({ hasText: name }).waitFor();
}

/** No part of the page is wider than a phone of 375 px; says which is. */
export async function fitsPhone(page) {
  const before = page.viewportSize();
  await page.setViewportSize({ width: 375, height: 800 });
  const wide = await page.evaluate(async () => {
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const root = document.scrollingElement;
    if (root.scrollWidth <= root.clientWidth) return [];
    const over = [...document.body.querySelectorAll("*")].filter((element) => element.getBoundingClientRect().right > root.clientWidth + 1);
    return [`${root.scrollWidth} px`, ...over.slice(0, 5).map((element) => `<${element.tagName.toLowerCase()} class="${element.className}">`)];
  });
  await page.setViewportSize(before);
  if (wide.length > 0) throw new Error(`${page.url()} scrolls sideways at 375 px: ${wide.join(", ")}`);
}

/** The browser works with the page: what is clicked is answered. */
export async function hydrated(page) {
  try {
    await page.waitForFunction(() => document.documentElement.dataset.hydrated === "true");
  } catch (cause) {
    const loaded = await page.evaluate(() => performance.getEntriesByType("resource").map((entry) => `${entry.name} ${entry.responseStatus} ${Math.round(entry.duration)} ms`));
    throw new Error(`${page.url()} does not work: ${[...complaints.get(page), ...loaded].join("; ")}`, { cause });
  }
}
