#!/usr/bin/env bash
# `make run`: sets up what is missing, builds, starts the stack `local`, serves until Ctrl-C, then stops all of it.
# HOSTS (default 1) says how many pod hosts. Data is kept for the next run.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# What .env says replaces a local part by a real one (.env.example).
if [ -f "$ROOT/.env" ]; then
  set -a
  # shellcheck source=/dev/null
  . "$ROOT/.env"
  set +a
fi
HOSTS="${HOSTS:-1}"
[[ "$HOSTS" =~ ^[0-9]+$ ]] && [ "$HOSTS" -le 50 ] || die "HOSTS must be a number from 0 to 50"
mkdir -p "$DATA"
exec 7>"$DATA/lock"
flock -n 7 || die "this stack is running already: http://localhost:$SERVER_PORT"

"$ROOT/dev/setup.sh" 7>&-
. "$ROOT/dev/lib.sh"
if [ "$HOSTS" -gt 0 ] && ! "$ROOT/dev/hosts.sh" check 7>&-; then
  say "going on without pod hosts: pods stay queued until a host has joined"
  HOSTS=0
fi

end() {
  trap '' INT TERM
  trap - EXIT
  [ -z "${follower:-}" ] || kill "$follower" 2>/dev/null || true
  say "stopping"
  "$ROOT/dev/stack.sh" down 7>&-
}
trap end EXIT
trap 'exit 0' INT
trap 'exit 143' TERM HUP

say "building"
if [ "$HOSTS" -gt 0 ]; then "$ROOT/dev/build.sh" 7>&-; else "$ROOT/dev/build.sh" server github 7>&-; fi
say "starting Postgres, the stand-in for GitHub and $HOSTS pod host(s)"
# setsid: a Ctrl-C reaches this script alone, which stops the parts in order.
setsid -w "$ROOT/dev/stack.sh" up "$HOSTS" 7>&-
: >"$DATA/server.log"
setsid -w "$ROOT/dev/stack.sh" serve 7>&-
[ "$HOSTS" -eq 0 ] || "$ROOT/dev/join.sh" "$HOSTS" 7>&-
printf '\n  Pinacle is at http://localhost:%s\n  Sign in as owner, member, outsider, operator or two-part-name. Ctrl-C stops it.\n\n' "$SERVER_PORT"
read -r server _ <"$DATA/server.pid"
tail -n 0 -F "$DATA/server.log" --pid="$server" 7>&- &
follower=$!
wait "$follower" || true
die "the server ended; see $DATA/server.log"
