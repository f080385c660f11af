// Creations of one user, alone and beside another's flood; prints a table of medians and 95th percentiles.
import { readFileSync } from "node:fs";
import os from "node:os";
import { at } from "../figures.mjs";

const rounds = Number(process.argv[2] ?? 12);
const { BASE, TOKENS } = process.env;
const FLOOD = 200;
const EACH = 5;
const token = (name) => readFileSync(`${TOKENS}/${name}`, "utf8").trim();

async function create(authorization, name) {
  const began = performance.now();
  const answer = await fetch(`${BASE}/api/v1/pods`, {
    method: "POST",
    headers: { authorization: `Bearer ${authorization}`, "content-type": "application/json" },
    body: JSON.stringify({ name, tier: "dev.small" }),
  });
  const body = await answer.json();
  return { status: answer.status, ms: performance.now() - began, id: body.id };
}

const calm = token("calm");
const seen = { alone: [], beside: [] };
const statuses = {};
let number = 0;

/** So many creations, one after another; each is deleted again, outside of what is measured. */
async function measure(into) {
  for (let round = 0; round < EACH; round += 1) {
    const { status, ms, id } = await create(calm, `calm${(number += 1)}`);
    if (status !== 202) throw new Error(`a calm creation: ${status}`);
    into.push(ms);
    await fetch(`${BASE}/api/v1/pods/${id}`, { method: "DELETE", headers: { authorization: `Bearer ${calm}` } });
  }
}

await measure([]);
for (let round = 1; round <= rounds; round += 1) {
  // A user's changes are limited, the calm one's, too.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await measure(seen.alone);
  const flood = Promise.all(Array.from({ length: FLOOD }, (_, at) => create(token(`flood${round}`), `p${at}`)));
  await measure(seen.beside);
  for (const { status } of await flood) statuses[status] = (statuses[status] ?? 0) + 1;
}

const row = (name, values) => `| ${name} | ${at(values, 0.5).toFixed(1)} | ${at(values, 0.95).toFixed(1)} |`;
console.log(`# One user's creations beside another's flood

${rounds} rounds of ${EACH} creations alone and ${EACH} that begin with a flood of ${FLOOD}; milliseconds. Linux ${os.release()}, ${os.cpus().length} cores; ${process.env.PINACLE_BUILD} build;
client, server, Postgres and the flood on the same cores.

| | median | p95 |
| --- | --- | --- |
${row("alone", seen.alone)}
${row(`while another user creates ${FLOOD} at once`, seen.beside)}

At the median ${(at(seen.beside, 0.5) / at(seen.alone, 0.5)).toFixed(2)} × as long (limit: 2 ×). The flood was answered: ${Object.entries(statuses)
  .map(([status, count]) => `${count} × ${status}`)
  .join(", ")}.`);
