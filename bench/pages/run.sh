#!/usr/bin/env bash
# What pages weigh, how soon they work in a slow browser, what 200 open ones hold, and how the server answers 50 requests at a time.
# Usage: run.sh [ROUNDS]; writes bench/pages/RESULTS.md. A round is a visit of each page in the browser, and 20 requests of each load.
# PINACLE_BUILD=debug: without waiting for a release build; BUILT=1: what was built last.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export STACK="${STACK:-bench}" STACK_NUMBER="${STACK_NUMBER:-91}"
. "$here/../lib.sh"
[ -z "${DATABASE_URL:-}" ] || die "this fills the database: it takes none but its own stack's"
if [ -z "${BUILT:-}" ]; then
  # What the browser runs is among what setup brings.
  "$ROOT/dev/setup.sh"
  . "$here/../../dev/lib.sh"
  "$ROOT/dev/build.sh" server github
fi
load="$(cut -d' ' -f1-3 /proc/loadavg)"
work="$(mktemp -d)"
trap '"$ROOT/dev/stack.sh" wipe; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$ROOT/dev/stack.sh" up 0 off
url="$("$ROOT/dev/postgres.sh" url)"
sql() { "$PG_BIN/psql" -X -q -At -v ON_ERROR_STOP=1 "$url" "$@"; }
# Counts statements. Where it is not installed, figures of single statements are left out.
if [ "$(sql -c "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_stat_statements'")" = 1 ]; then
  sql -c "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'"
  "$ROOT/dev/postgres.sh" down
  "$ROOT/dev/postgres.sh" up off
  sql -c "CREATE EXTENSION pg_stat_statements"
fi
cp "$BUILT_IN/pinacle-server" "$BIN/"
export KEEP_SERVER=1 BASE_URL="http://localhost:$SERVER_PORT" GITHUB_URL="http://localhost:$GITHUB_PORT"
"$ROOT/dev/stack.sh" serve

# Twenty people who sign in, by GitHub as everybody does; all others are rows.
(umask 077 && node "$here/people.mjs" 20 >"$work/people.json")
sql -f "$here/people.sql"
sql -v first=1 -v last=5 -f "$here/pods.sql"
# Again: at rest is a server that has answered nobody.
"$ROOT/dev/stack.sh" serve

DATABASE_URL="$url" PSQL="$PG_BIN/psql" DATA="$DATA" SITE="${PINACLE_SITE_ROOT:-$ROOT/site}" PEOPLE="$work/people.json" LOAD="$load" \
  REVISION="$(git -C "$ROOT" rev-parse --short HEAD)" node "$here/pages.mjs" "${1:-50}" >"$work/results"
tee "$here/RESULTS.md" <"$work/results"
