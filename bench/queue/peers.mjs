// The peers on Node, with the commands of src/main.rs: graphile-worker and pg-boss, each as its documentation advises for
// what is measured: a local queue and completions in batches for draining; LISTEN and no local queue for delays.
import pg from 'pg';

const url = process.env.DATABASE_URL;
// One folder as `host`, which both understand.
const [system, command, ...rest] = process.argv.slice(2);
const numbers = rest.map(Number);
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
const pause = number => sleep(60 + ((number * 37) % 100));

async function ready() {
  process.stdout.write('ready\n');
  await new Promise(resolve => process.stdin.once('data', resolve));
}

async function timed(work) {
  const begun = performance.now();
  await work();
  console.log((performance.now() - begun) / 1000);
}

// Sends and waits for the job to begin; `begun` is called by the job.
async function delays(count, send) {
  let told;
  const tell = () => told?.(performance.now());
  const measure = async () => {
    for (let number = 0; number < count; number++) {
      await pause(number);
      const ran = new Promise(resolve => { told = resolve; });
      const begun = performance.now();
      await send();
      console.log((await ran) - begun);
    }
    process.exit(0);
  };
  return { tell, measure };
}

const graphile = async () => {
  const { run, makeWorkerUtils, Logger } = await import('graphile-worker');
  const logger = new Logger(() => () => {});
  const pool = new pg.Pool({ connectionString: url, max: 10 });
  // It wants to see that somebody looks after errors.
  pool.on('error', () => {});
  pool.on('connect', connection => connection.on('error', () => {}));
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  return {
    async setup() {
      await utils.migrate();
      await pool.query('TRUNCATE graphile_worker._private_jobs');
    },
    send: (count, batch) => timed(async () => {
      for (let sent = 0; sent < count; sent += batch) {
        if (batch === 1) await utils.addJob('bench', { id: 1 });
        else await utils.addJobs(Array.from({ length: batch }, () => ({ identifier: 'bench', payload: { id: 1 } })));
      }
    }),
    async left() {
      const { rows } = await pool.query('SELECT count(*) FROM graphile_worker._private_jobs');
      console.log(rows[0].count);
    },
    async delay(count) {
      const { tell, measure } = await delays(count, () => utils.addJob('bench', { id: 1 }));
      await run({ preset: { worker: { concurrentJobs: 16, maxPoolSize: 10, pollInterval: 1000 } }, pgPool: pool, logger, noHandleSignals: true, taskList: { bench: tell } });
      await sleep(500);
      await measure();
    },
    async drain(batch) {
      await pool.query('SELECT 1');
      await ready();
      await run({
        preset: { worker: { concurrentJobs: Math.min(batch, 24), maxPoolSize: 10, pollInterval: 1000, localQueue: { size: batch }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
        pgPool: pool, logger, noHandleSignals: true, taskList: { bench: () => {} },
      });
      await new Promise(() => {});
    },
  };
};

const pgboss = async () => {
  const { PgBoss } = await import('pg-boss');
  const boss = new PgBoss({ connectionString: url, useListenNotify: true, supervise: false, schedule: false });
  boss.on('error', () => {});
  await boss.start();
  return {
    async setup() {
      await boss.createQueue('bench', { notify: true });
      await boss.deleteAllJobs('bench');
    },
    send: (count, batch) => timed(async () => {
      for (let sent = 0; sent < count; sent += batch) {
        if (batch === 1) await boss.send('bench', { id: 1 });
        else await boss.insert('bench', Array.from({ length: batch }, () => ({ data: { id: 1 } })));
      }
    }),
    async left() {
      const { rows } = await boss.getDb().executeSql("SELECT count(*) FROM pgboss.job WHERE name = 'bench' AND state < 'completed'");
      console.log(rows[0].count);
    },
    async delay(count) {
      const { tell, measure } = await delays(count, () => boss.send('bench', { id: 1 }));
      await boss.work('bench', { pollingIntervalSeconds: 0.5 }, async () => tell());
      await sleep(500);
      await measure();
    },
    // Its workers wait between batches; by hand it is faster, and that is what is measured.
    async drain(batch) {
      await boss.fetch('nothing', { batchSize: 1 }).catch(() => {});
      await ready();
      for (;;) {
        const jobs = await boss.fetch('bench', { batchSize: batch });
        if (!jobs?.length) await sleep(20);
        else await boss.complete('bench', jobs.map(job => job.id));
      }
    },
  };
};

const peer = await { graphile, pgboss }[system]();
await peer[command](...numbers);
process.exit(0);
