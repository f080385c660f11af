// Alternates gVisor alone and a pod through the API; prints a table of medians and 95th percentiles.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import { api, ask } from "../api.mjs";
import { at } from "../figures.mjs";

const rounds = Number(process.argv[2] ?? 50);
const { HOSTS } = process.env;
const bareScript = readFileSync(new URL("bare.sh", import.meta.url), "utf8");

/** Follows the pod's stream until `until` says so of an item, or it ends. */
async function follow(id, until) {
  const answer = await ask("GET", `/pods/${id}/events`, undefined, { accept: "text/event-stream", "last-event-id": "0" });
  let text = "";
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const data = text.slice(0, end).split("\n").find((line) => line.startsWith("data:"));
      if (data && until(JSON.parse(data.slice(5)))) return;
    }
  }
}

async function echo(id) {
  const answer = await api("POST", `/pods/${id}/exec`, { argv: ["echo", "ready"] });
  if (answer.stdout !== "ready\n") throw new Error(JSON.stringify(answer));
}

const seen = { bare: [], pod: [], accepted: [], running: [], exec: [], again: [] };
const steps = {};
for (let round = 0; round < rounds; round += 1) {
  seen.bare.push(Number(execFileSync(HOSTS, ["run", "1", "bash", "-c", bareScript, "bash", String(round)]).toString()));
  const began = performance.now();
  const { id } = await api("POST", "/pods", { name: `bench${round}`, tier: "dev.small" });
  const accepted = performance.now();
  await follow(id, (news) => {
    if (news.type === "event" && news.event.kind === "end") (steps[news.event.step] ??= []).push(news.event.data.ms);
    return news.type === "pod" && news.pod.status === "running";
  });
  const running = performance.now();
  await echo(id);
  const first = performance.now();
  await echo(id);
  seen.again.push(performance.now() - first);
  seen.pod.push(first - began);
  seen.accepted.push(accepted - began);
  seen.running.push(running - accepted);
  seen.exec.push(first - running);
  await api("DELETE", `/pods/${id}`);
  await follow(id, () => false);
}

const row = (name, list) => `| ${name} | ${at(list, 0.5).toFixed(1)} | ${at(list, 0.95).toFixed(1)} |`;
const inventory = execFileSync(HOSTS, ["run", "1", "/usr/local/bin/runsc", "--version"]).toString().split("\n")[0];
console.log(`# From POST of an empty pod to its first output

${rounds} rounds, alternating; milliseconds. ${os.type()} ${os.release()}, ${os.cpus().length} cores, ${inventory}, platform ptrace; ${process.env.PINACLE_BUILD} build.

| | median | p95 |
| --- | --- | --- |
${row("gVisor alone: create, start, exec", seen.bare)}
${row("**a pod: POST → output of echo**", seen.pod)}
${row("… POST answered", seen.accepted)}
${row("… until it runs", seen.running)}
${row("… exec", seen.exec)}
${row("exec once more", seen.again)}

At the median ${(at(seen.pod, 0.5) / at(seen.bare, 0.5)).toFixed(2)} × gVisor alone (limit: 2 ×).

| step of the job | median | p95 |
| --- | --- | --- |
${Object.entries(steps).map(([name, list]) => row(name, list)).join("\n")}`);
