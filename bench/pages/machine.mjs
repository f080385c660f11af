// What processes and Postgres take, from /proc and Postgres' own counters.
import { execFileSync, spawn } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";

const { DATABASE_URL, DATA, PSQL } = process.env;
const TICKS = Number(execFileSync("getconf", ["CLK_TCK"]).toString());
const first = (path) => Number(readFileSync(path, "utf8").split(/\s/)[0]);

const OPTIONS = ["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", DATABASE_URL];
/** One statement, whose one value is JSON. */
export const query = (sql) => JSON.parse(execFileSync(PSQL, [...OPTIONS, "-c", sql], { encoding: "utf8", maxBuffer: 64 << 20 }).trim());
export const run = (...rest) => execFileSync(PSQL, [...OPTIONS, ...rest], { stdio: ["ignore", "ignore", "inherit"] });

/** A connection that stays: a new psql takes longer than what is measured. */
export function connection() {
  const psql = spawn(PSQL, OPTIONS, { stdio: ["pipe", "ignore", "inherit"] });
  return { send: (sql) => psql.stdin.write(`${sql};\n`), close: () => psql.stdin.end() };
}

const server = () => first(`${DATA}/server.pid`);

/** MiB of memory that the server holds. */
export const serverMemory = () => Number(readFileSync(`/proc/${server()}/status`, "utf8").match(/^VmRSS:\s+(\d+)/m)[1]) / 1024;

/** The fields of a process behind its name: parent's number second, user and system time 12th and 13th, of ended children next. */
const fields = (pid) => readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
const sum = (list, ...places) => places.reduce((all, place) => all + Number(list[place]), 0) / TICKS;

/** Seconds of CPU of the postmaster, of what it has started, and of what of that has ended. */
function postgresTime() {
  const postmaster = first(`${DATA}/postgres/data/postmaster.pid`);
  let seconds = sum(fields(postmaster), 11, 12, 13, 14);
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const list = fields(pid);
      if (Number(list[1]) === postmaster) seconds += sum(list, 11, 12);
    } catch {
      // It has ended since the folder was read.
    }
  }
  return seconds;
}

const counts = query("SELECT to_json(count(*) > 0) FROM pg_extension WHERE extname = 'pg_stat_statements'");
const OURS = "dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query NOT LIKE '%pg_stat_%'";

function counters() {
  const database = "SELECT xact_commit + xact_rollback AS transactions FROM pg_stat_database WHERE datname = current_database()";
  const sums = "SELECT json_build_object('calls', coalesce(sum(calls), 0), 'ms', coalesce(sum(total_exec_time), 0)) FROM pg_stat_statements";
  const statements = counts ? `(${sums} WHERE ${OURS})` : "NULL";
  return query(`SELECT json_build_object('transactions', (${database}), 'statements', ${statements})`);
}

/** The statements that took longest in all: how often, milliseconds each, and their text. */
function heaviest() {
  if (!counts) return [];
  const text = "regexp_replace(query, '\\s+', ' ', 'g')";
  return query(`SELECT coalesce(json_agg(s), '[]') FROM (SELECT calls, mean_exec_time AS ms, ${text} AS query FROM pg_stat_statements
    WHERE ${OURS} ORDER BY total_exec_time DESC LIMIT 3) s`);
}

/** What the machine did while `work` went on: seconds, cores that were busy, transactions and statements. */
export async function during(work) {
  if (counts) run("-c", "SELECT pg_stat_statements_reset()");
  const before = { ...counters(), server: sum(fields(server()), 11, 12), postgres: postgresTime(), at: performance.now() };
  const done = await work();
  const seconds = (performance.now() - before.at) / 1000;
  const cores = { server: (sum(fields(server()), 11, 12) - before.server) / seconds, postgres: (postgresTime() - before.postgres) / seconds };
  const after = counters();
  return {
    done,
    seconds,
    cores,
    transactions: (after.transactions - before.transactions) / seconds,
    // Counted from the reset on.
    statements: after.statements?.calls ?? NaN,
    executed: after.statements?.ms ?? NaN,
    heaviest: heaviest(),
  };
}
