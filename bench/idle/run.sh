#!/usr/bin/env bash
# How many idle dev.small pods one host holds: made one after another through the API; then memory and CPU of each, and what follows from them.
# Usage: run.sh [PODS]; writes bench/idle/RESULTS.md
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export STACK="${STACK:-bench}" STACK_NUMBER="${STACK_NUMBER:-93}"
. "$here/../lib.sh"
[ -n "${BUILT:-}" ] || "$ROOT/dev/build.sh"
pods="${1:-20}"
# All of them are one user's.
export PINACLE_QUOTA_PODS="$pods" PINACLE_QUOTA_CPU="$pods" PINACLE_QUOTA_MEMORY_GB="$pods" PINACLE_QUOTA_DISK_GB=$((10 * pods))
with_host

# What the host may promise by the rule.
printf 'header = "Authorization: Bearer %s"\n' "$(cat "$DATA/keys/operator.token")" |
  curl -fsS -m 20 -K - -o "$work/hosts.json" "http://localhost:$SERVER_PORT/api/v1/hosts"
# From here on without end, as an operator would (docs/operating.md, "How much a host takes"): the machine is to say when it is full.
"$PG_BIN/psql" -qX -c 'UPDATE hosts SET cpu_ratio = 1000, memory_ratio = 1000, disk_ratio = 1000' "$("$ROOT/dev/postgres.sh" url)"
WORK="$work" BASE="http://localhost:$SERVER_PORT" HOSTS="$ROOT/dev/hosts.sh" PREFIX="$PREFIX-h1" SERVER_PID="$(cut -d' ' -f1 "$DATA/server.pid")" \
  node "$here/idle.mjs" "$pods" | tee "$here/RESULTS.md"
