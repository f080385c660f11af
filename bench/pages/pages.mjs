// Measures one server after another in one run, and prints what came of it as Markdown.
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import os from "node:os";
import { brotliCompressSync, constants } from "node:zlib";
import { closed, follow, steady } from "./load.mjs";
import { connection, during, query, run, serverMemory } from "./machine.mjs";
import { paints } from "./paint.mjs";
import { at } from "../figures.mjs";

const rounds = Number(process.argv[2] ?? 50);
const { DATA, LOAD, PEOPLE, PINACLE_BUILD, REVISION, SITE } = process.env;
const people = JSON.parse(readFileSync(PEOPLE, "utf8"));
const AT_ONCE = 50;
const REQUESTS = Math.max(AT_ONCE, rounds * 20);
const PER_SECOND = 50;
const OPEN = 200;
const SLOWED = 4;
const MOST_WASM = 350_000;
const MOST_API = 220;
const MOST_TEAM = 50;
/** The time after which the server looks again whether the right to a stream holds (server/src/web/guard.rs): each has one look. */
const LOOKED_AT = 15_000;
const CONCERNS = 10_000;

const say = (words) => console.error(`pages: ${words}`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const number = (value, digits = 1) => (Number.isFinite(value) ? value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }) : "–");
const table = (head, rows) => [head, head.map((_, place) => (place ? "---:" : "---")), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
const verdict = (value, limit) => (value <= limit ? "held" : "**missed**");

// --- at rest, and with 200 pages open ---

/** Fifty looks at the server's memory. */
async function memory() {
  const seen = [];
  for (let look = 0; look < 50; look += 1) {
    seen.push(serverMemory());
    await sleep(40);
  }
  return seen;
}

say("at rest");
await sleep(2000);
const rest = await memory();
const idle = await during(() => sleep(10_000));
const standing = idle.statements / idle.seconds;

const pods = query("SELECT json_agg(json_build_object('id', p.id, 'team_id', p.team_id, 'team', t.slug)) FROM pods p JOIN teams t ON t.id = p.team_id");
const pageOf = (pod) => `/teams/${pod.team}/pods/${pod.id}`;
const asBrowser = (number) => ({ cookie: people[number % people.length].cookie, accept: "text/html", "accept-encoding": "gzip, deflate, br, zstd" });
const asScript = (number) => ({ authorization: `Bearer ${people[number % people.length].token}` });
/** Pods in no order that a cache would like. */
const some = (list, number) => list[(number * 7919) % list.length];

say(`${OPEN} open pages`);
const open = [...Array(OPEN).keys()].map((number) => {
  const pod = some(pods, number);
  const isList = number % 2 === 0;
  return isList ? { isList, page: "/", stream: "/live/pods" } : { isList, page: pageOf(pod), stream: `/live/pods/${pod.id}/events?after=30` };
});
let heard = 0;
const streams = [];
const opened = {};
// Streams first: what drawing pages leaves free in the server would hide what streams take.
for (const isList of [true, false]) {
  for (const [number, one] of open.entries()) {
    if (one.isList === isList) streams.push(await follow(one.stream, people[number % people.length].cookie, () => (heard += isList ? 1 : 0)));
  }
  // Until each list has had what it begins with.
  await sleep(3000);
  opened[isList] = await memory();
}
const drawn = await closed(OPEN, 10, (number) => ({ path: open[number].page, headers: asBrowser(number) }));
const rendered = await memory();
const held = await during(() => sleep(LOOKED_AT));
const lists = open.filter(({ isList }) => isList).length;

say("news");
// What a job's transaction would say of a pod; then every open list asks for that pod under the rights of whoever looks at it.
const told = connection();
const news = await during(async () => {
  const seen = [];
  for (let round = 0; round < rounds; round += 1) {
    const pod = some(pods, round);
    const expected = heard + lists;
    const began = performance.now();
    told.send(`SELECT pg_notify('news', '${JSON.stringify({ pod: { pod: pod.id, team: pod.team_id } })}')`);
    while (heard < expected) {
      if (performance.now() - began > 10_000) throw new Error(`${expected - heard} of ${lists} lists were not told`);
      await sleep(1);
    }
    seen.push(performance.now() - began);
    await sleep(20);
  }
  return seen;
});
told.close();
for (const stream of streams) stream.close();

// --- what the pages weigh ---

/** Every file below a folder, by its path there. */
const files = (folder) => readdirSync(folder, { recursive: true }).filter((name) => statSync(`${folder}/${name}`).isFile());

say("bytes");
// The best takes minutes for the WASM of a debug build, which nobody is sent.
const quality = PINACLE_BUILD === "release" ? 11 : 5;
const weighed = [];
for (const name of files(SITE).filter((name) => /\.(wasm|js|css)$/.test(name)).sort()) {
  const bytes = readFileSync(`${SITE}/${name}`);
  const small = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: quality, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } });
  const sent = await closed(1, 1, () => ({ path: `/${name}`, headers: { "accept-encoding": "br" } }));
  if (Object.keys(sent.failed).length > 0) throw new Error(`${name} lies in ${SITE} and is not served`);
  weighed.push({ name, kind: name.split(".").at(-1), bytes: bytes.length, small: small.length, sent: sent.bytes });
}
/** WASM that a page takes: the frame's, and its part's, which the build's own list names. */
const manifest = JSON.parse(readFileSync(`${SITE}/pkg/${readdirSync(`${SITE}/pkg`).find((name) => /^__wasm_split_manifest.*\.json$/.test(name))}`, "utf8"));
const wasmOf = ([page, part]) => {
  const modules = manifest[`${part}_part`];
  const wanted = new Set(modules.map((name) => `pkg/${name}.wasm`));
  const found = weighed.filter((file) => wanted.has(file.name) || /^pkg\/pinacle\.([^.]+\.)?wasm$/.test(file.name));
  if (found.length !== modules.length + 1) throw new Error(`${part}: ${found.length} files of ${modules.length + 1}`);
  return { page, files: found.length, sent: found.reduce((all, file) => all + file.sent, 0) };
};
const total = (kind, what) => weighed.filter((file) => file.kind === kind).reduce((all, file) => all + file[what], 0);

const running = query("SELECT json_build_object('id', p.id, 'team', t.slug) FROM pods p JOIN teams t ON t.id = p.team_id WHERE p.status = 'running' AND p.setup = 'done' LIMIT 1");
const parts = [["pods", "pods"], ["a pod", "pod"], ["new pod, new team, an invitation", "making"], ["a team, its secrets", "team"], ["account, hosts", "account"]].map(wasmOf);

// --- in a slow browser ---

say("in a slow browser");
const { seen: painted, chromium } = await paints(rounds, SLOWED, people[0].login, [
  { name: "pods, the first 50 of 500", path: "/", use: { path: "^/$", press: "#tier", choose: "dev.small", answer: "nav.seg a[href*='tier=dev.small']" } },
  {
    name: "a running pod",
    path: pageOf(running),
    use: { path: "/pods/", press: "button[aria-label='New terminal']", answer: "[role=tab][href*='terminal=t2']" },
  },
]);

// --- under load ---

const measured = [];
async function measure(name, request, { perSecond, limit } = {}) {
  say(`${name}${perSecond ? `, ${perSecond} a second` : ""}`);
  const warm = await closed(AT_ONCE, AT_ONCE, request);
  if (Object.keys(warm.failed).length > 0) say(`${name}: ${JSON.stringify(warm.failed)}`);
  const all = await during(() => (perSecond ? steady(REQUESTS, perSecond, request) : closed(REQUESTS, AT_ONCE, request)));
  const { ms, bytes, failed, seconds } = all.done;
  const row = {
    ...all,
    name,
    limit,
    how: perSecond ? `${perSecond}/s` : `${AT_ONCE} at a time`,
    rate: REQUESTS / seconds,
    p50: at(ms, 0.5),
    p95: at(ms, 0.95),
    size: bytes / REQUESTS,
    failed,
    // Without what goes on by itself.
    each: Math.max(0, all.statements - standing * all.seconds) / REQUESTS,
    executedEach: all.executed / REQUESTS,
    serverEach: (all.cores.server * all.seconds) / REQUESTS,
    postgresEach: (all.cores.postgres * all.seconds) / REQUESTS,
  };
  measured.push(row);
  return row;
}

const html = (path) => (number) => ({ path: typeof path === "string" ? path : path(number), headers: asBrowser(number) });
const api = (path) => (number) => ({ path: `/api/v1${typeof path === "string" ? path : path(number)}`, headers: asScript(number) });
const anyPod = (list) => html((number) => pageOf(some(list, number)));

const list500 = await measure("pods, HTML; 50 of 500", html("/"));
await measure("one team's 100 pods, HTML", html("/teams/team-2/pods"));
await measure("GET /api/v1/pods", api("/pods"));
await measure("GET /api/v1/pods", api("/pods"), { perSecond: PER_SECOND, limit: MOST_API });
const pod500 = await measure("a pod, HTML", anyPod(pods));
await measure("GET /api/v1/pods/{id}", api((number) => `/pods/${some(pods, number).id}`));
await measure("GET /api/v1/pods/{id}", api((number) => `/pods/${some(pods, number).id}`), { perSecond: PER_SECOND, limit: MOST_API });
for (const [name, page] of [
  ["team with 500 members, HTML", "/teams/team-1"],
  ["its 2,000 secrets, HTML; the 250 of one repository's pods", "/teams/team-1/secrets"],
]) {
  await measure(name, html(page), { limit: MOST_TEAM });
  await measure(name, html(page), { perSecond: PER_SECOND, limit: MOST_TEAM });
}

say("500 more pods");
run("-v", "first=6", "-v", "last=10", "-f", new URL("pods.sql", import.meta.url).pathname);
const more = query("SELECT json_agg(json_build_object('id', p.id, 'team', t.slug)) FROM pods p JOIN teams t ON t.id = p.team_id");
const list1000 = await measure(`pods, HTML; 50 of ${number(more.length, 0)}`, html("/"));
await measure("GET /api/v1/pods; 50 of 1,000", api("/pods"));
const pod1000 = await measure("a pod of 1,000, HTML", anyPod(more));
const after = await memory();

// --- the report ---

const [{ version: postgres, connections }] = query(
  "SELECT json_agg(s) FROM (SELECT split_part(version(), ' on ', 1) AS version, (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pinacle') AS connections) s",
);
const megabytes = (list) => [number(at(list, 0.5)), number(at(list, 0.95))];
const half = OPEN / 2;
const listKilobytes = ((at(opened[true], 0.5) - at(rest, 0.5)) * 1024) / half;
const podKilobytes = ((at(opened[false], 0.5) - at(opened[true], 0.5)) * 1024) / half;
const looks = (held.statements / held.seconds - standing) / OPEN;
const failures = [{ name: `the ${OPEN} pages that are opened`, how: "10 at a time", failed: drawn.failed }, ...measured]
  .filter(({ failed }) => Object.keys(failed).length > 0)
  .map(({ name, how, failed }) => `- ${name}, ${how}: ${Object.entries(failed).map(([why, times]) => `${why} ${times} ×`).join(", ")}`);
// Who is struck by a panic sees its connection reset, and only the log says why.
const panics = [...readFileSync(`${DATA}/server.log`, "utf8").matchAll(/panicked at .*\n(.*)/g)].map(([, what]) => what);
const visits = painted.flatMap(({ name, first, again }) => [[`${name}, empty cache`, first], [`${name}, again`, again]]);
const shorten = (text) => (text.length > 190 ? `${text.slice(0, 60)} … ${text.slice(-120)}` : text).replaceAll("|", "\\|").replaceAll("`", "'");

// Seconds of a core, not of the clock: under load a statement's time is for the most part that of waiting for a core.
const grown = (small, large) => large.postgresEach + (Math.max(0, large.postgresEach - small.postgresEach) * (CONCERNS - 1000)) / 500;
const milliseconds = (seconds) => number(seconds * 1000);
const cores = os.cpus().length;
// Assumed, for there is no such installation yet.
const LOOKING = CONCERNS / 10;
const LOADS = LOOKING / 60;
const CHANGES = (CONCERNS * 10) / 3600;
const perNews = (news.cores.postgres * news.seconds) / (rounds * lists);
const perNewsServer = (news.cores.server * news.seconds) / (rounds * lists);
const hears = LOOKING / 2;
const demands = [
  ["drawing pages, in the server", (LOADS * (list1000.serverEach + pod1000.serverEach)) / 2],
  [`drawing lists of ${number(CONCERNS, 0)} pods, in Postgres`, (LOADS * grown(list500, list1000)) / 2],
  [`drawing a pod's page among ${number(CONCERNS, 0)}, in Postgres`, (LOADS * grown(pod500, pod1000)) / 2],
  ["news to lists, in Postgres, if each list may see every pod", CHANGES * hears * perNews],
  ["news to lists, in the server, if each list may see every pod", CHANGES * hears * perNewsServer],
  ["looking again whether streams may stay open, in both", (LOOKING * (held.cores.server + held.cores.postgres)) / OPEN],
].toSorted((a, b) => b[1] - a[1]);
const pace = { file: new URL("../pods/RESULTS.md", import.meta.url), row: /^\| … until it runs \| ([\d.]+) \|/m };
const untilRuns = existsSync(pace.file) ? Number(readFileSync(pace.file, "utf8").match(pace.row)?.[1]) : NaN;
const JOBS = 16;

console.log(`# Pages

\`bench/pages/run.sh\` writes this file. ${new Date().toISOString().slice(0, 10)}. ${rounds} visits of each page in the browser, ${number(REQUESTS, 0)} requests of each load${rounds < 50 ? ", **fewer than a result takes**" : ""}.

Machine: ${os.type()} ${os.release()}, ${cores} cores (${os.cpus()[0].model.trim()}), which server, Postgres, browser and the askers share; load before the run ${LOAD}.
Pinacle ${REVISION}, ${PINACLE_BUILD} build${PINACLE_BUILD === "release" ? "" : " (**no release build was there**: its WASM and its times are others)"}. ${postgres} over a Unix socket, without fsync, ${connections} connections of the server; Chromium ${chromium}, Node ${process.version}.
Data: 1,000 users, ten teams of 216 to 500 members, 500 pods (half of them running, without a host), 30 events each. ${people.length} people, who own all ten teams and so see every pod, ask by turns.
No limit of the server was raised: it counts no reads, only calls that change something, sign-ins (60 at once from one address) and streams (100 a user).

## Bytes

${table(
  ["file", "bytes", `brotli, quality ${quality}`, "as the server sends it"],
  weighed.map(({ name, bytes, small, sent }) => [name, ...[bytes, small, sent].map((count) => number(count, 0))]),
)}

As they are sent: JS ${number(total("js", "sent"), 0)}, CSS ${number(total("css", "sent"), 0)}, WASM ${number(total("wasm", "sent"), 0)} bytes, of which a page that is visited first takes:

| page | files | WASM | limit ${number(MOST_WASM, 0)} |
| --- | ---: | ---: | --- |
${parts.map(({ page, files, sent }) => `| ${page} | ${files} | ${number(sent, 0)} | ${verdict(sent, MOST_WASM)} |`).join("\n")}

## Until it is painted, and until it works

Processor slowed ${SLOWED} ×; milliseconds since the navigation began. *Works*: the page says that it is hydrated. *Answers*: what is pressed at that moment
(the list's choice of a tier, the pod's "New terminal") has changed the page.

${table(
  ["page", "first paint, median", "p95", "first content, median", "works, median", "p95", "answers, median", "p95", "KiB sent"],
  visits.map(([name, list]) => {
    const of = (what) => list.map((visit) => visit[what]);
    const both = (what) => [number(at(of(what), 0.5), 0), number(at(of(what), 0.95), 0)];
    return [name, ...both("paint"), number(at(of("content"), 0.5), 0), ...both("works"), ...both("answers"), number(at(of("bytes"), 0.5) / 1024, 0)];
  }),
)}

## The server's memory

RSS, ${rest.length} looks each. A page is open as in a browser: its HTML by GET with a session's cookie, then its stream on a connection of its own, over plain
HTTP from Node: ${half} lists (\`/live/pods\`) and ${half} pods (\`/live/pods/{id}/events\`), ${OPEN / people.length} of each person. Streams come first here, since what drawing leaves
free would hide them. Without a host, running pods are not watched inside.

${table(
  ["", "MiB, median", "p95"],
  [
    ["just started", ...megabytes(rest)],
    [`streams of ${half} lists`, ...megabytes(opened[true])],
    [`and of ${half} pods`, ...megabytes(opened[false])],
    [`${OPEN} pages are open: all were drawn, ten at a time`, ...megabytes(rendered)],
    ["after all that follows", ...megabytes(after)],
  ],
)}

An open list takes ${number(listKilobytes, 0)} KiB, an open pod ${number(podKilobytes, 0)} KiB. While nothing happens an open page costs ${number(looks, 2)} statements a second (${number(held.statements / held.seconds, 0)} in all,
${number(standing, 1)} of them without any), the ${OPEN} together ${number(held.cores.server * 100, 0)} % of a core in the server and ${number(held.cores.postgres * 100, 0)} % in Postgres.
A change of one pod is at the last of ${lists} lists after ${number(at(news.done, 0.5))} ms (p95 ${number(at(news.done, 0.95))}); it costs ${number((news.statements - standing * news.seconds) / rounds, 0)} statements.

## Under load

Milliseconds until the last byte; of those at so many a second from when each was due. Statements and their time are Postgres' own count (what waits
for a core counts, too), cores what /proc says.

${table(
  ["", "asked", "answers/s", "p50", "p95", "limit, p95", "KiB each", "statements each", "ms in Postgres each", "transactions/s", "cores, server", "cores, Postgres"],
  measured.map((row) => [
    row.name,
    row.how,
    ...[row.rate, row.p50, row.p95].map((value) => number(value)),
    row.limit ? `${row.limit}: ${verdict(row.p95, row.limit)}` : "",
    ...[row.size / 1024, row.each, row.executedEach].map((value) => number(value)),
    number(row.transactions, 0),
    number(row.cores.server, 2),
    number(row.cores.postgres, 2),
  ]),
)}

${failures.length > 0 ? `Not answered with 200, and counted among the times all the same:\n\n${failures.join("\n")}` : "All were answered with 200."}
${panics.length > 0 ? `\nThe server panicked ${panics.length} times:\n\n${[...new Set(panics)].map((what) => `- ${what}`).join("\n")}\n` : ""}
The statement that took longest of each:

${table(
  ["", "calls each", "ms a call", "statement"],
  measured.flatMap(({ name, how, heaviest }) => heaviest.slice(0, 1).map(({ calls, ms, query }) => [`${name}, ${how}`, number(calls / REQUESTS), number(ms, 2), `\`${shorten(query)}\``])),
)}

## What ${number(CONCERNS, 0)} pods need, and what breaks first

Reckoned from the figures above, for a build and a machine like these. Assumed: a page is open for a tenth of the pods (${number(LOOKING, 0)}, half of them lists), each is loaded
anew once a minute (${number(LOADS)} loads a second), and a pod changes ten times an hour (${number(CHANGES)} changes a second).

- Memory: ${number((hears * (listKilobytes + podKilobytes)) / 1024, 0)} MiB for streams, beside the ${number(at(after, 0.5), 0)} that one server holds after all of the above.
- One server draws ${number(list1000.rate)} lists a second here, each ${milliseconds(list1000.serverEach)} ms of a core in the server and ${milliseconds(list1000.postgresEach)} in Postgres, by ${number(list1000.each)} statements.
- A list costs Postgres ${milliseconds(list500.postgresEach)} ms of a core where 500 pods may be seen, ${milliseconds(list1000.postgresEach)} where 1,000 may be; grown evenly, ${milliseconds(grown(list500, list1000))} ms at ${number(CONCERNS, 0)}.
- A pod's page costs it ${milliseconds(pod500.postgresEach)} ms among 500 pods, ${milliseconds(pod1000.postgresEach)} among 1,000; grown evenly, ${milliseconds(grown(pod500, pod1000))} ms at ${number(CONCERNS, 0)}.
${
  Number.isFinite(untilRuns)
    ? `- A worker has ${JOBS} jobs at once, and four on one host. At ${number(untilRuns, 0)} ms until a pod runs (bench/pods/RESULTS.md) it starts at most ${number((JOBS * 1000) / untilRuns, 0)} pods a second, from four hosts up: ${number(CONCERNS, 0)} pods, as after a power cut, take ${number((CONCERNS * untilRuns) / JOBS / 60_000)} minutes with one worker.\n`
    : ""
}
${table(["what for", "cores", "of this machine's"], demands.map(([name, wanted]) => [name, number(wanted, 2), `${number((100 * wanted) / cores, 0)} %`]))}

First to break: ${demands[0][0]}.`);
