#!/usr/bin/env bash
# From POST of an empty pod to the first output of `echo` through the API, beside gVisor alone on the same host in the same run.
# Usage: run.sh [ROUNDS]; writes bench/pods/RESULTS.md
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export STACK=bench STACK_NUMBER="${STACK_NUMBER:-90}"
. "$here/../lib.sh"
[ -n "${BUILT:-}" ] || "$ROOT/dev/build.sh"
with_host
WORK="$work" BASE="http://localhost:$SERVER_PORT" HOSTS="$ROOT/dev/hosts.sh" node "$here/pods.mjs" "${1:-50}" | tee "$here/RESULTS.md"
