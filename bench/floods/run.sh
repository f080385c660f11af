#!/usr/bin/env bash
# How long one user's creation takes alone, and while another user creates 200 pods at once.
# Usage: run.sh [ROUNDS]; writes bench/floods/RESULTS.md
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export STACK=bench STACK_NUMBER="${STACK_NUMBER:-90}"
. "$here/../lib.sh"
[ -n "${BUILT:-}" ] || "$ROOT/dev/build.sh" server github
"$ROOT/dev/stack.sh" up 0 off
"$ROOT/dev/stack.sh" serve
tokens="$(mktemp -d)"
trap '"$ROOT/dev/stack.sh" wipe; rm -rf "$tokens"' EXIT
rounds="${1:-12}"
umask 077
"$ROOT/dev/token.sh" member >"$tokens/calm"
# Each round floods as somebody else: what one user may do at once is used up by it.
for round in $(seq 1 "$rounds"); do
  curl -fsS -o /dev/null -m 10 -H 'Content-Type: application/json' --data "{\"login\":\"flood$round\"}" "http://localhost:$GITHUB_PORT/_dev/accounts"
  "$ROOT/dev/token.sh" "flood$round" >"$tokens/flood$round"
done
TOKENS="$tokens" BASE="http://localhost:$SERVER_PORT" node "$here/floods.mjs" "$rounds" | tee "$here/RESULTS.md"
