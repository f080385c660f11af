#!/usr/bin/env bash
# Joins the stack's pod hosts as an operator would: a host is made through the REST API, its one-time token goes to `pinacle-host join`.
# Usage: join.sh HOSTS
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

API="http://localhost:$SERVER_PORT/api/v1"
token_file="$DATA/keys/operator.token"

api() { # METHOD PATH [BODY]; the token goes by standard input, not by argument
  printf 'header = "Authorization: Bearer %s"\n' "$(cat "$token_file")" |
    curl -fsS -m 20 -K - -X "$1" -H 'Content-Type: application/json' ${3:+--data "$3"} "$API$2"
}

if [ ! -s "$token_file" ] || ! api GET /me >/dev/null 2>&1; then (umask 077 && "$ROOT/dev/token.sh" operator >"$token_file"); fi
joined="$(api GET '/hosts?limit=100' | jq -r '.items[] | select(.state != "joining") | .name')"
for number in $(seq 1 "$1"); do
  name="host$number"
  ! grep -qx "$name" <<<"$joined" || continue
  token="$(api POST /hosts "$(jq -nc --arg name "$name" --arg address "$(host_address "$number")" '{name: $name, transport: "ssh", address: $address, port: 22}')" | jq -er .join_token)"
  # Everything of the host's but its network: the dashboard listens on this machine's loopback alone.
  read -r pid _ <"$DATA/hosts/h$number/init.pid"
  printf '%s\n' "$token" | nsenter -t "$pid" --mount --uts --ipc --pid -- \
    pinacle-host join --server "http://localhost:$SERVER_PORT" --authorized-keys /etc/pinacle/authorized_keys >&2 || die "host $name did not join"
  say "$name joined"
done
wait_for 30 "the hosts" bash -c "curl -fsS -m 5 http://localhost:$SERVER_PORT/health | jq -e '.parts.hosts != \"down\"'"
