#!/usr/bin/env bash
# From POST of an empty pod to the first output of `echo` through the API, beside gVisor alone on the same host in the same run.
# Usage: run.sh [ROUNDS]; writes bench/pods/RESULTS.md
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export STACK=bench STACK_NUMBER="${STACK_NUMBER:-90}"
export PINACLE_BUILD="${PINACLE_BUILD:-release}"
. "$here/../../dev/lib.sh"
[ -n "${BUILT:-}" ] || "$ROOT/dev/build.sh"
"$ROOT/dev/stack.sh" up 1 off
"$ROOT/dev/stack.sh" serve
trap '"$ROOT/dev/stack.sh" wipe' EXIT
"$ROOT/dev/join.sh" 1
token="$(mktemp)"
(umask 077 && "$ROOT/dev/token.sh" owner >"$token")
TOKEN_FILE="$token" BASE="http://localhost:$SERVER_PORT" HOSTS="$ROOT/dev/hosts.sh" node "$here/pods.mjs" "${1:-50}" | tee "$here/RESULTS.md"
rm -f "$token"
