#!/usr/bin/env bash
# From a key typed in the browser's terminal to its echo, beside `ssh -tt` to a shell in the same pod in the same run, in alternating blocks.
# Usage: run.sh [BLOCKS], 25 keys each; writes bench/keystrokes/RESULTS.md
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export STACK="${STACK:-bench}" STACK_NUMBER="${STACK_NUMBER:-92}"
. "$here/../lib.sh"
[ -n "${BUILT:-}" ] || "$ROOT/dev/build.sh"
with_host

# The peer: a plain sshd on the same host. The host's own takes the control plane alone, and runs its gate whatever is asked.
address="$(host_address 1)" port=2200
ssh-keygen -q -t ed25519 -N '' -C '' -f "$work/key"
ssh-keygen -q -t ed25519 -N '' -C '' -f "$work/host"
plain_sshd "$address" "$port" /run/bench/host /run/bench/key.pub /run/bench >"$work/sshd_config"
printf '[%s]:%s %s\n' "$address" "$port" "$(cat "$work/host.pub")" >"$work/known_hosts"
"$ROOT/dev/hosts.sh" run 1 mkdir -m 0700 /run/bench
tar -C "$work" -c host key.pub sshd_config | "$ROOT/dev/hosts.sh" run 1 tar -C /run/bench -x
# It ends with the host.
"$ROOT/dev/hosts.sh" run 1 /usr/sbin/sshd -D -e -f /run/bench/sshd_config 2>"$work/sshd.log" </dev/null &
disown
wait_for 10 "a plain sshd" bash -c "exec 3<>/dev/tcp/$address/$port" || { tail -5 "$work/sshd.log" >&2; exit 1; }

WORK="$work" TMPDIR="$work" BASE="http://localhost:$SERVER_PORT" BASE_URL="http://localhost:$SERVER_PORT" HOSTS="$ROOT/dev/hosts.sh" PLAIN_ADDRESS="$address" PLAIN_PORT="$port" \
  node --experimental-websocket --no-warnings "$here/keystrokes.mjs" "${1:-8}" | tee "$here/RESULTS.md"
