// Types in the browser's terminal, on a WebSocket of the API and over `ssh -tt`, a block here and a block there; prints medians and 95th percentiles.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import { BASE, fresh, hydrated, open, script, signIn, type } from "../../end2end/browser.mjs";
import { authorization } from "../api.mjs";
import { at } from "../figures.mjs";

const blocks = Number(process.argv[2] ?? 10);
const { HOSTS, PLAIN_ADDRESS, PLAIN_PORT, WORK } = process.env;
const KEYS = 25;
// Typed first in each block, and not counted: what was idle meanwhile is awake then.
const AWAKE = 3;
const LETTERS = "abcdefghijklmnopqrstuvwxyz";
// Milliseconds between an echo and the next key, by chance: nobody types in step with the screen.
const PAUSE = [20, 80];
const DEADLINE = 10_000;
// What tmux says beside text: sequences that have letters in them.
const ESCAPES = String.raw`\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[()].|[=>78M])`;

const load = os.loadavg()[0];
const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What `work` promises, or an error with what is to be seen. */
async function within(work, what) {
  let late;
  const deadline = new Promise((_, reject) => (late = setTimeout(() => reject(new Error(`no echo within ${DEADLINE} ms: ${what()}`)), DEADLINE)));
  return Promise.race([work, deadline]).finally(() => clearTimeout(late));
}

/** What types by `write` and is told what is shown by `heard`. `key` gives the milliseconds from writing a letter to reading it. */
function typist(write) {
  const escapes = new RegExp(ESCAPES, "g");
  let text = "";
  let waiting;
  const send = (typed, expected) => {
    text = "";
    const echo = new Promise((resolve) => {
      waiting = { expected, resolve, began: performance.now() };
      write(typed);
    });
    return within(echo, () => JSON.stringify(text));
  };
  return {
    heard(piece) {
      const now = performance.now();
      text += piece;
      if (!waiting || !text.replace(escapes, "").includes(waiting.expected)) return;
      waiting.resolve(now - waiting.began);
      waiting = undefined;
    },
    // The shell may still be on its way: what is typed until then is read by it.
    begin: () => send("echo it-$((6*7))-works\r", "it-42-works"),
    key: async (letter) => ({ echo: await send(letter, letter) }),
    clear: () => write("\x15"),
  };
}

/** A shell in the pod, by way of the plain sshd. */
async function overSsh(command) {
  // Newer clients hide when keys are typed by sending on a clock, up to 20 ms later.
  const options = ["IgnoreUnknown=ObscureKeystrokeTiming", "ObscureKeystrokeTiming=no", `UserKnownHostsFile=${WORK}/known_hosts`, "IdentitiesOnly=yes", "LogLevel=ERROR"];
  const child = spawn(
    "ssh",
    ["-tt", "-F", "/dev/null", "-i", `${WORK}/key`, ...options.flatMap((option) => ["-o", option]), "-p", PLAIN_PORT, "-l", "root", PLAIN_ADDRESS, command],
    { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, TERM: "xterm-256color" } },
  );
  const shell = typist((typed) => child.stdin.write(typed));
  child.stdout.setEncoding("utf8").on("data", shell.heard);
  await shell.begin();
  return { ...shell, close: () => child.kill() };
}

/** A terminal of the pod on a WebSocket of the API, without a page: what of the browser's time is the product's way to the pod. */
async function overSocket(pod, { cols, rows }) {
  const address = `${BASE.replace(/^http/, "ws")}/api/v1/pods/${pod}/terminals/alone?cols=${cols}&rows=${rows}&client=${crypto.randomUUID()}`;
  const socket = new WebSocket(address, { headers: { authorization } });
  socket.binaryType = "arraybuffer";
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  const shell = typist((typed) => socket.send(encoder.encode(typed)));
  socket.onmessage = ({ data }) => typeof data !== "string" && shell.heard(decoder.decode(data, { stream: true }));
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = ({ message }) => reject(new Error(`no WebSocket: ${message}`));
  });
  await shell.begin();
  return { ...shell, close: () => socket.close() };
}

/** Runs in the page, before its own scripts: notes when a key was pressed, sent, received, drawn, and when its frame was done. */
function watch(pattern) {
  const escapes = new RegExp(pattern, "g");
  let typed;
  addEventListener("keydown", (event) => (typed = { letter: event.key, text: "", key: event.timeStamp }), true);
  globalThis.WebSocket = class extends WebSocket {
    constructor(address, ...rest) {
      super(address, ...rest);
      if (!String(address).includes("/terminals/")) return;
      const decoder = new TextDecoder();
      // Heard before the page's own `onmessage`, which is set later.
      this.addEventListener("message", ({ data }) => {
        const now = performance.now();
        if (!typed?.sent || typed.received || typeof data === "string") return;
        typed.text += decoder.decode(data, { stream: true });
        if (typed.text.replace(escapes, "").includes(typed.letter)) typed.received = now;
      });
    }
    send(data) {
      if (typed && typeof data !== "string") typed.sent ??= performance.now();
      super.send(data);
    }
  };
  // Its message is heard after the frame: style, layout and painting have been done by then.
  const frame = new MessageChannel();
  globalThis.watchTerminal = (term) =>
    term.onRender(() => {
      const { active } = term.buffer;
      const line = active.getLine(active.baseY + active.cursorY).translateToString(false, 0, active.cursorX);
      if (!typed?.received || !line.endsWith(typed.letter)) return;
      const { key, sent, received } = typed;
      const drawn = performance.now();
      typed = undefined;
      frame.port1.onmessage = () => globalThis.keyShown({ wire: received - sent, drawn: drawn - key, framed: performance.now() - key });
      frame.port2.postMessage(undefined);
    });
}

/** The terminal on the pod's page. */
async function inBrowser(page, pod) {
  let shown;
  await page.exposeFunction("keyShown", (times) => shown(times));
  await page.addInitScript(watch, ESCAPES);
  await page.goto(`${BASE}/pods/${pod}`);
  await hydrated(page);
  await page.locator("pinacle-terminal .xterm-rows").waitFor();
  await type(page, "echo it-$((6*7))-works", "it-42-works");
  const size = await page.evaluate(() => {
    const { term } = document.querySelector("pinacle-terminal");
    globalThis.watchTerminal(term);
    return { cols: term.cols, rows: term.rows };
  });
  return {
    size,
    async key(letter) {
      const times = new Promise((resolve) => (shown = resolve));
      await page.keyboard.press(letter);
      return within(times, () => `the browser's terminal does not show “${letter}”`);
    },
    clear: () => page.keyboard.press("Control+u"),
  };
}

const browser = await open();
const { page } = browser;
await signIn(page, "owner");
const api = await script(page);
const { id } = await api.create(fresh("keys"));
await api.until(id, (pod) => {
  if (pod.status === "failed") throw new Error(JSON.stringify(pod.failure));
  return pod.status === "running";
});

const terminal = await inBrowser(page, id);
const inPod = (env, program) => {
  const set = Object.entries({ HOME: "/home/dev", USER: "dev", LANG: "C.UTF-8", TERM: "xterm-256color", ...env }).map(([name, value]) => `--env ${name}=${value}`);
  const where = `--user 1000:1000 --cwd /home/dev ${set.join(" ")} ${id.replaceAll("-", "")}`;
  return `stty cols ${terminal.size.cols} rows ${terminal.size.rows} && exec /usr/local/bin/runsc --root /run/pinacle/runsc exec ${where} ${program}`;
};
const ways = {
  bash: await overSsh(inPod({}, "/bin/bash -l")),
  // What terminals are in the product: a session of the same tmux server (host/src/init/terminal.rs).
  tmux: await overSsh(inPod({ EVENT_NOPOLL: 1, TMUX_TMPDIR: "/run/user/1000" }, "/usr/bin/tmux -u -L pinacle new-session -A -s peer")),
  socket: await overSocket(id, terminal.size),
  browser: terminal,
};

const seen = {};
const names = Object.keys(ways);
for (let block = 0; block < blocks; block += 1) {
  for (const name of block % 2 === 0 ? names : names.toReversed()) {
    for (let at = 0; at < AWAKE + KEYS; at += 1) {
      await rest(PAUSE[0] + Math.random() * (PAUSE[1] - PAUSE[0]));
      const times = await ways[name].key(LETTERS[at % LETTERS.length]);
      if (at >= AWAKE) for (const [what, ms] of Object.entries(times)) (seen[`${name} ${what}`] ??= []).push(ms);
    }
    await ways[name].clear();
    await rest(300);
  }
}
for (const { close } of Object.values(ways)) close?.();
const chromium = await page.evaluate(() => navigator.userAgent.match(/Chrome\/([\d.]+)/)[1]);
const { errors } = browser;
await api.clean();
await browser.close();
if (errors.length > 0) throw new Error(errors.join("\n"));

const row = (name, list) => `| ${name} | ${at(list, 0.5).toFixed(1)} | ${at(list, 0.95).toFixed(1)} |`;
const times = (what, peer, share) => (at(seen[what], share) / at(seen[peer], share)).toFixed(2);
const against = (what, peer) => `${times(what, peer, 0.5)} × at the median, ${times(what, peer, 0.95)} × at p95`;
const runsc = execFileSync(HOSTS, ["run", "1", "/usr/local/bin/runsc", "--version"]).toString().split("\n")[0];
const openssh = spawnSync("ssh", ["-V"]).stderr.toString().split(",")[0];
const xterm = JSON.parse(readFileSync(new URL("../../public/vendor/package-lock.json", import.meta.url))).packages["node_modules/@xterm/xterm"].version;
console.log(`# A key's echo in the browser's terminal beside \`ssh -tt\`

${blocks * KEYS} keys each way, in alternating blocks of ${KEYS}, one pod. ${os.type()} ${os.release()}, ${os.cpus().length} cores, load ${load.toFixed(1)} before; ${runsc}, platform ptrace; ${openssh.trim()};
Chromium ${chromium} without a window, xterm.js ${xterm}; ${process.env.PINACLE_BUILD} build; everything on the same cores.

All of them type at bash's prompt in the same pod, so that every echo is bash's own. The peer is a plain sshd on the pod's host that runs \`runsc exec\`
on a terminal, without what the control plane adds: server, daemon, the pod's PID 1, and tmux, which keeps a terminal when its viewer goes. ssh's times
are from a byte written to it to the same byte read from it, without the drawing that a terminal on a desk would add. The browser's last two
begin at the key's event and hold a wait for the next of 60 frames a second.

| milliseconds | median | p95 |
| --- | --- | --- |
${row("`ssh -tt`, bash", seen["bash echo"])}
${row("`ssh -tt`, bash in the pod's tmux", seen["tmux echo"])}
${row("the API's WebSocket without a page: sent → received", seen["socket echo"])}
${row("**browser: sent on the WebSocket → received**", seen["browser wire"])}
${row("**browser: key → xterm.js has drawn it**", seen["browser drawn"])}
${row("browser: key → its frame is done", seen["browser framed"])}

| times as long (limit: 1.3 ×) | beside bash | beside bash in tmux |
| --- | --- | --- |
| without a page | ${against("socket echo", "bash echo")} | ${against("socket echo", "tmux echo")} |
| on the page's wire | ${against("browser wire", "bash echo")} | ${against("browser wire", "tmux echo")} |
| until it is drawn | ${against("browser drawn", "bash echo")} | ${against("browser drawn", "tmux echo")} |`);
