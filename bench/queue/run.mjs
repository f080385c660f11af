// Runs every system through every measure on one Postgres, prints a table and writes RESULTS.md.
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { cpus, release } from 'node:os';
import pg from 'pg';

const folder = import.meta.dirname;
const env = name => process.env[name] ?? '';
const MESSAGES = Number(env('BENCH_MESSAGES') || 10000);
const SINGLE = Math.min(MESSAGES, 2000);
const DELAYS = Number(env('BENCH_DELAYS') || 200);
const WORKERS = [1, 2, 4, 8];
const BATCHES = [1, 10, 100];
const BATCH = 100;
const DEADLINE = 120_000;

const ours = (name, title) => ({ name, title, run: [env('BENCH_BIN'), name] });
const peer = (name, title) => ({ name, title, run: [process.execPath, `${folder}/peers.mjs`, name] });
const systems = [
  ours('pinacle', 'pinacle (its worker)'),
  { ...ours('pinacle-loop', 'pinacle (read, archive)'), bare: true },
  peer('graphile', 'graphile-worker'),
  peer('pgboss', 'pg-boss'),
  ...(env('PGMQ_SQL') ? [ours('pgmq', 'pgmq (its SQL)')] : []),
].filter(({ name }) => !env('BENCH_ONLY') || env('BENCH_ONLY').split(',').includes(name));

const client = new pg.Client({ connectionString: env('DATABASE_URL') });
await client.connect();
const call = ({ run: [program, ...first] }, ...rest) =>
  execFileSync(program, [...first, ...rest.map(String)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], timeout: DEADLINE }).trim();

const LEFT = {
  pinacle: 'SELECT FROM queue.message LIMIT 1',
  'pinacle-loop': 'SELECT FROM queue.message LIMIT 1',
  graphile: 'SELECT FROM graphile_worker._private_jobs LIMIT 1',
  pgboss: "SELECT FROM pgboss.job WHERE name = 'bench' AND state < 'completed' LIMIT 1",
  pgmq: 'SELECT FROM pgmq.q_bench LIMIT 1',
};
const isEmpty = async name => (await client.query(LEFT[name])).rowCount === 0;

// Processes of their own, all connected before any begins. The clock runs until the last message is done.
async function drain(system, workers, batch, messages) {
  call(system, 'setup');
  call(system, 'send', messages, 100);
  await client.query('VACUUM ANALYZE');
  const children = [];
  try {
    for (let number = 0; number < workers; number++) {
      const [program, ...first] = system.run;
      const child = spawn(program, [...first, 'drain', String(batch)], { stdio: ['pipe', 'pipe', 'inherit'] });
      children.push(child);
      await new Promise((resolve, reject) => {
        createInterface({ input: child.stdout }).once('line', resolve);
        child.once('exit', code => reject(new Error(`${system.name} ended with ${code}`)));
      });
    }
    const begun = performance.now();
    for (const child of children) child.stdin.write('go\n');
    while (!(await isEmpty(system.name))) {
      if (performance.now() - begun > DEADLINE) return NaN;
      await new Promise(resolve => setTimeout(resolve, 10));
    }
    return messages / ((performance.now() - begun) / 1000);
  } finally {
    for (const child of children) {
      child.removeAllListeners('exit');
      child.kill('SIGKILL');
    }
  }
}

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
const median = values => at([...values].sort((a, b) => a - b), 0.5);
const perSecond = n => (Number.isNaN(n) ? 'not within 120 s' : Math.round(n).toLocaleString('en'));
const rows = { delay: [], send: [], batch: [], drain: [] };

// Systems take turns, so that what else the machine does meets all of them.
const collect = async (turns, among, measure) => {
  const found = new Map(among.map(system => [system, []]));
  for (let turn = 0; turn < turns; turn++) for (const system of among) found.get(system).push(await measure(system));
  return found;
};
const TURNS = 3;
const whole = systems.filter(({ bare }) => !bare);

console.error('queue: pick-up');
for (const system of systems) call(system, 'setup');
const delays = await collect(4, whole, system => call(system, 'delay', Math.ceil(DELAYS / 4)).split('\n').map(Number));
for (const [system, turns] of delays) {
  const sorted = turns.flat().sort((a, b) => a - b);
  rows.delay.push([system.title, ...[0.5, 0.95, 0.99].map(share => at(sorted, share).toFixed(2))]);
}
// One row a system, one column a parameter; the median of the turns.
const fill = async (kind, among, parameters, measure) => {
  const columns = [];
  for (const parameter of parameters) {
    console.error(`queue: ${kind}, ${parameter}`);
    columns.push(await collect(TURNS, among, system => measure(system, parameter)));
  }
  for (const system of among) rows[kind].push([system.title, ...columns.map(column => perSecond(median(column.get(system))))]);
};
const count = batch => (batch === 1 ? SINGLE : MESSAGES);
await fill('send', whole, BATCHES, (system, batch) => count(batch) / Number(call(system, 'send', count(batch), batch)));
await fill('batch', systems, BATCHES, (system, batch) => drain(system, 1, batch, count(batch)));
await fill('drain', systems, WORKERS, (system, workers) => drain(system, workers, BATCH, MESSAGES));

const table = (head, lines) => [head, head.map((_, place) => (place ? '---:' : '---')), ...lines].map(line => `| ${line.join(' | ')} |`).join('\n');
const version = name => JSON.parse(execFileSync('cat', [`${folder}/node_modules/${name}/package.json`], { encoding: 'utf8' })).version;
const { rows: [{ version: postgres }] } = await client.query('SELECT version()');
const settings = (await client.query("SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'shared_buffers', 'full_page_writes') ORDER BY name")).rows;
await client.end();
const report = `# The queue beside its peers

\`make bench\` writes this file. All systems on one Postgres in one run, over a Unix socket, taking turns; every worker
is a process of its own; jobs do nothing. ${new Date().toISOString().slice(0, 10)}.

Machine: ${execFileSync('uname', ['-srm'], { encoding: 'utf8' }).trim()}, ${cpus().length} cores (${cpus()[0].model}), shared by Postgres and
what is measured; load before the run ${env('BENCH_LOAD')}. ${postgres.split(' on ')[0]} (${settings.map(({ name, setting }) => `${name} ${setting}`).join(', ')}).
Versions: graphile-worker ${version('graphile-worker')}, pg-boss ${version('pg-boss')}, Node ${process.version}, pgmq ${env('PGMQ_VERSION') || 'left out: its crate could not be had'}, ours ${env('BENCH_VERSION')}.

## Pick-up: from the send to the begin of its job, with a worker that waits, in ms (${DELAYS} sends each)

${table(['system', 'p50', 'p95', 'p99'], rows.delay)}

## Sends in a second, one sender

${table(['system', ...BATCHES.map(batch => `${batch} at once`)], rows.send)}

## Read and archived in a second, one worker

${table(['system', ...BATCHES.map(batch => `${batch} at once`)], rows.batch)}

## Drain: messages in a second, ${BATCH} at once (median of ${TURNS}, ${MESSAGES} messages each)

${table(['system', ...WORKERS.map(workers => `${workers} worker${workers > 1 ? 's' : ''}`)], rows.drain)}
`;
console.log(report);
if (env('BENCH_RESULTS')) writeFileSync(env('BENCH_RESULTS'), report + (env('BENCH_NOTES') ? `\n${env('BENCH_NOTES')}\n` : ''));
