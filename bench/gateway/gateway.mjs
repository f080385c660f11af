// Alternates a plain sshd and the gateway; prints medians and 95th percentiles.
import { execFileSync } from "node:child_process";
import os from "node:os";
import { api } from "../api.mjs";
import { at } from "../figures.mjs";

const rounds = Number(process.argv[2] ?? 40);
const { GATEWAY_PORT, PLAIN_PORT, PLAIN_USER, WORK } = process.env;
const MEGABYTES = 64;

const options = ["-F", "/dev/null", "-i", `${WORK}/key`, "-o", `UserKnownHostsFile=${WORK}/known_hosts`, "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"];

function ssh(port, user, command) {
  const began = performance.now();
  execFileSync("ssh", [...options, "-p", port, "-l", user, "127.0.0.1", command], { stdio: ["ignore", "ignore", "inherit"] });
  return performance.now() - began;
}

const { id } = await api("POST", "/pods", { name: "bench", tier: "dev.small" });
for (let pod; (pod = await api("GET", `/pods/${id}`)).status !== "running"; ) {
  if (pod.status === "failed") throw new Error(JSON.stringify(pod.failure));
  await new Promise((next) => setTimeout(next, 200));
}
const inside = "bench.owner";
ssh(GATEWAY_PORT, inside, "true");

const seen = { plain: [], gateway: [], plainBytes: [], gatewayBytes: [] };
for (let round = 0; round < rounds; round += 1) {
  seen.plain.push(ssh(PLAIN_PORT, PLAIN_USER, "true"));
  seen.gateway.push(ssh(GATEWAY_PORT, inside, "true"));
}
const bytes = `head -c ${MEGABYTES << 20} /dev/zero`;
for (let round = 0; round < Math.ceil(rounds / 8); round += 1) {
  seen.plainBytes.push((MEGABYTES * 1000) / ssh(PLAIN_PORT, PLAIN_USER, bytes));
  seen.gatewayBytes.push((MEGABYTES * 1000) / ssh(GATEWAY_PORT, inside, bytes));
}

const row = (name, list) => `| ${name} | ${at(list, 0.5).toFixed(1)} | ${at(list, 0.95).toFixed(1)} |`;
console.log(`# The SSH gateway beside a plain sshd

${rounds} rounds, alternating, OpenSSH's client on the same machine. ${os.type()} ${os.release()}, ${os.cpus().length} cores; ${process.env.PINACLE_BUILD} build, pods on gVisor with ptrace.
The gateway's way is longer: client → gateway → the host's sshd → daemon → the pod's PID 1, and a process started in gVisor.

| from \`ssh\` to the end of \`true\`, milliseconds | median | p95 |
| --- | --- | --- |
${row("plain sshd, this machine", seen.plain)}
${row("**gateway, into a pod**", seen.gateway)}

At the median ${(at(seen.gateway, 0.5) / at(seen.plain, 0.5)).toFixed(2)} × a plain sshd.

| ${MEGABYTES} MiB out of one connection, MiB/s | median |
| --- | --- |
| plain sshd | ${at(seen.plainBytes, 0.5).toFixed(1)} |
| gateway | ${at(seen.gatewayBytes, 0.5).toFixed(1)} |`);
