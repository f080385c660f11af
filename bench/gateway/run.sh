#!/usr/bin/env bash
# From `ssh` to the end of `true`, and bytes through one connection: through the gateway into a pod, beside a plain sshd on this machine
# in the same run, alternating.
# Usage: run.sh [ROUNDS]; writes bench/gateway/RESULTS.md
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export STACK=bench STACK_NUMBER="${STACK_NUMBER:-90}"
. "$here/../lib.sh"
[ -n "${BUILT:-}" ] || "$ROOT/dev/build.sh"
end() {
  end_process "$work/sshd.pid" 2
  "$ROOT/dev/stack.sh" wipe
  rm -rf "$work"
}
with_host

# One key for both; the stand-in has it as the owner's.
ssh-keygen -q -t ed25519 -N '' -C '' -f "$work/key"
curl -fsS -o /dev/null -H 'Content-Type: application/json' --data "$(jq -nc --arg key "$(cat "$work/key.pub")" '{keys: [$key]}')" \
  "http://localhost:$GITHUB_PORT/_dev/accounts/owner"

# The peer: a plain sshd of this machine, for this user, on loopback.
ssh-keygen -q -t ed25519 -N '' -C '' -f "$work/host"
plain_port=$((GATEWAY_PORT + 1))
plain_sshd 127.0.0.1 "$plain_port" "$work/host" "$work/key.pub" "$work" >"$work/sshd_config"
mkdir -p /run/sshd
/usr/sbin/sshd -D -e -f "$work/sshd_config" 2>"$work/sshd.log" </dev/null &
remember_process "$work/sshd.pid" $!
wait_for 10 "a plain sshd" bash -c "exec 3<>/dev/tcp/127.0.0.1/$plain_port"
printf '[127.0.0.1]:%s %s\n[127.0.0.1]:%s %s\n' "$plain_port" "$(cat "$work/host.pub")" "$GATEWAY_PORT" "$(cat "$DATA/keys/gateway.pub")" >"$work/known_hosts"

WORK="$work" BASE="http://localhost:$SERVER_PORT" GATEWAY_PORT="$GATEWAY_PORT" PLAIN_PORT="$plain_port" PLAIN_USER="$(id -un)" \
  node "$here/gateway.mjs" "${1:-40}" | tee "$here/RESULTS.md"
