// Makes empty pods until there are so many, or no more go; lets them idle; prints what each takes, and how many of them the host would hold.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import os from "node:os";
import { api } from "../api.mjs";
import { at } from "../figures.mjs";

const wanted = Number(process.argv[2] ?? 20);
const { HOSTS, PREFIX, SERVER_PID, WORK } = process.env;
// Milliseconds: between two looks at a pod that comes up, for it to come up at all, to come to rest, and of idling.
const LOOK_EVERY = 25;
const UP = 60_000;
const REST = 10_000;
const IDLE = 20_000;
// Pods that a row of the growth's table holds.
const STEP = 5;
const MIB = 1 << 20;
// Of a host's /24: the network, the gateway, the broadcast (server/src/pods/placement.rs).
const ADDRESSES = 253;

const load = os.loadavg()[0];
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const text = (path) => readFileSync(path, "utf8");
const field = (path, key) => Number(text(path).match(new RegExp(`^${key}:?\\s+(\\d+)`, "m"))[1]);

// Control groups, version 1 or 2; the host's lie in the kernel's one tree (dev/host-init.sh).
const TWO = existsSync("/sys/fs/cgroup/cgroup.controllers");
const group = (controller, pod) => `/sys/fs/cgroup/${TWO ? "" : `${controller}/`}${PREFIX}/${pod.replaceAll("-", "")}`;

/** Nanoseconds that the pod has had of a core since its boot. */
function cpu(pod) {
  return TWO ? field(`${group("", pod)}/cpu.stat`, "usage_usec") * 1000 : Number(text(`${group("cpuacct", pod)}/cpuacct.usage`));
}

/** Bytes of the pod's group and of the processes in it. */
function memory(pod) {
  const folder = group("memory", pod);
  const all = Number(text(`${folder}/${TWO ? "memory.current" : "memory.usage_in_bytes"}`));
  const pids = text(`${folder}/cgroup.procs`).trim().split("\n");
  const sum = (file, key) => pids.reduce((sum, pid) => sum + field(`/proc/${pid}/${file}`, key) * 1024, 0);
  // Files' pages that the kernel would give back at once are no use of the pod's (host/src/pod/cgroup.rs).
  return { all, kept: all - field(`${folder}/memory.stat`, TWO ? "inactive_file" : "total_inactive_file"), rss: sum("status", "VmRSS"), pss: sum("smaps_rollup", "Pss"), pids: pids.length };
}

const available = () => field("/proc/meminfo", "MemAvailable") * 1024;

/** Seconds of a core that these processes have had. */
function seconds(pids) {
  return pids.reduce((sum, pid) => {
    const words = text(`/proc/${pid}/stat`).split(") ").at(-1).split(" ");
    return sum + (Number(words[11]) + Number(words[12])) / 100;
  }, 0);
}

// By the rule that was there before everything was promised without end.
const [host] = JSON.parse(text(`${WORK}/hosts.json`)).items;
const began = { available: available(), total: field("/proc/meminfo", "MemTotal") * 1024 };

const pods = [];
const made = [];
const room = [began.available];
let end = `${wanted} were asked for.`;
while (pods.length < wanted) {
  const start = performance.now();
  const { id } = await api("POST", "/pods", { name: `idle${pods.length + 1}`, tier: "dev.small" });
  let pod;
  do {
    await pause(LOOK_EVERY);
    pod = await api("GET", `/pods/${id}`);
  } while (pod.status !== "running" && pod.status !== "failed" && performance.now() - start < UP);
  if (pod.status !== "running") {
    end = `The next one was ${pod.status} after ${((performance.now() - start) / 1000).toFixed(0)} s: ${JSON.stringify(pod.failure ?? pod.waiting_for)}.`;
    break;
  }
  made.push(performance.now() - start);
  pods.push(id);
  room.push(available());
}
if (pods.length === 0) throw new Error(end);

await pause(REST);
const daemons = execFileSync("pgrep", ["-f", `^pinacle-host serve .*--prefix ${PREFIX} `]).toString().trim().split("\n");
const before = { at: performance.now(), pods: pods.map(cpu), daemon: seconds(daemons), server: seconds([SERVER_PID]) };
await pause(IDLE);
const window = (performance.now() - before.at) / 1000;
// Percent of one core.
const share = pods.map((pod, at) => ((cpu(pod) - before.pods[at]) / 1e9 / window) * 100);
const beside = { daemon: ((seconds(daemons) - before.daemon) / window) * 100, server: ((seconds([SERVER_PID]) - before.server) / window) * 100 };
const memories = pods.map(memory);
const left = available();
for (const id of pods) {
  const { status } = await api("GET", `/pods/${id}`);
  if (status !== "running") throw new Error(`a pod that idled is ${status}`);
}

const row = (name, list, digits) => `| ${name} | ${at(list, 0.5).toFixed(digits)} | ${at(list, 0.95).toFixed(digits)} | ${Math.max(...list).toFixed(digits)} |`;
const mib = (what) => memories.map((memory) => memory[what] / MIB);
const gib = (bytes) => (bytes / MIB / 1024).toFixed(1);
const growth = [];
for (let from = 0; from < pods.length; from += STEP) {
  const to = Math.min(from + STEP, pods.length);
  const each = (room[from] - room[to]) / (to - from) / MIB;
  growth.push(`| ${from + 1}–${to} | ${at(made.slice(from, to), 0.5).toFixed(0)} | ${Math.max(...made.slice(from, to)).toFixed(0)} | ${each.toFixed(1)} |`);
}
const machine = (began.available - left) / pods.length;
const holds = (of, each) => (each > 0 ? Math.floor(of / each) : "–");
const TIER = { cpu: 500, memory: 1024 * MIB, disk: 10 * 1024 * MIB };
const rule = Object.entries(TIER).map(([what, each]) => [what, holds(host[what].limit - host[what].reserved, each), host[what].limit / host[what].physical]);
const promised = Math.min(ADDRESSES, ...rule.map(([, pods]) => pods));
const cores = os.cpus().length;
const runsc = execFileSync(HOSTS, ["run", "1", "/usr/local/bin/runsc", "--version"]).toString().split("\n")[0];
console.log(`# Idle pods on one host

${pods.length} empty dev.small pods, made one after another. ${end} ${os.type()} ${os.release()}, ${cores} cores, ${gib(began.total)} GiB of memory (${gib(began.available)} available before),
load ${load.toFixed(1)} before; control groups ${TWO ? "v2" : "v1"}; ${runsc}, platform ptrace; ${process.env.PINACLE_BUILD} build; server, Postgres and host on the same machine.

| each pod, ${(REST + IDLE) / 1000} s after the last was made, without viewers | median | p95 | most |
| --- | --- | --- | --- |
${row("**memory of its control group, MiB**", mib("all"), 1)}
${row("… without files' pages that the kernel would give back", mib("kept"), 1)}
${row("RSS of its processes on the host, MiB (pages that they share count in each)", mib("rss"), 1)}
${row("PSS of its processes on the host, MiB", mib("pss"), 1)}
${row("its processes on the host", memories.map((memory) => memory.pids), 0)}
${row(`**CPU over ${IDLE / 1000} s, percent of a core**`, share, 2)}

All of the pods together took ${share.reduce((a, b) => a + b, 0).toFixed(1)} % of a core; the daemon ${beside.daemon.toFixed(1)} %, the server ${beside.server.toFixed(1)} %. The machine's own memory became less by ${(machine / MIB).toFixed(1)} MiB a pod
(with everything else that ran on it meanwhile).

| pods | POST → running, ms: median | most | memory that the machine had less after each, MiB |
| --- | --- | --- | --- |
${growth.join("\n")}

| dev.small pods that this host holds | |
| --- | --- |
| by what was available, at the median of a group's memory | ${holds(began.available, at(mib("all"), 0.5) * MIB)} |
| … at what the machine had less | ${holds(began.available, machine)} |
| by CPU, when idling alone fills ${cores} cores | ${holds(cores * 100, at(share, 0.5))} |
${rule.map(([what, pods, times]) => `| by the scheduler's reservations: ${what}, promised ${times.toFixed(0)} × | ${pods} |`).join("\n")}
| by addresses of its range | ${ADDRESSES} |
| **what the scheduler lets on it** | ${promised} |`);
