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

/** The browser works with the page: what is clicked is answered. */
export async function hydrated(page) {
  try {
    await page.waitForFunction(() => document.documentElement.dataset.hydrated === "true");
  } catch (cause) {
    const loaded = await page.evaluate(() => performance.getEntriesByType("resource").map((entry) => `${entry.name} ${entry.responseStatus} ${Math.round(entry.duration)} ms`));
    throw new Error(`${page.url()} does not work: ${[...complaints.get(page), ...loaded].join("; ")}`, { cause });
  }
}
