#!/usr/bin/env bash
# A whole local stack: Postgres, the stand-in for GitHub, pod hosts, the server. Name and number (lib.sh) decide ports, folders, prefixes.
# Usage: stack.sh up HOSTS [off] | serve | down | wipe
#   up:    starts what the server needs and writes $DATA/env, the server's environment; what was left of a killed run is swept first
#   serve: starts the server (again) and waits until it answers
#   wipe:  down, and the stack's data is gone
# A part is left out where the environment names a real one: DATABASE_URL, PINACLE_GITHUB_URL.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

secret_file() { # path: 32 random bytes in base64, made once
  [ -s "$1" ] || (umask 077 && head -c 32 /dev/urandom | base64 >"$1")
}

write_environment() {
  local hosts="$1" keys="$DATA/keys" git_url="http://$GITHUB_NAME"
  [ "$hosts" -gt 0 ] || git_url="http://localhost:$GITHUB_PORT"
  mkdir -p "$keys"
  chmod 0700 "$keys"
  secret_file "$keys/master.key"
  secret_file "$keys/github-client-secret"
  [ -f "$keys/control" ] || ssh-keygen -q -t ed25519 -N '' -C pinacle-control -f "$keys/control"
  # What is set already wins: each part may be a real one.
  (
    umask 077
    cat >"$DATA/env" <<ENV
export DATABASE_URL=\${DATABASE_URL:-'$("$ROOT/dev/postgres.sh" url)'}
export PINACLE_LISTEN=\${PINACLE_LISTEN:-127.0.0.1:$SERVER_PORT}
export PINACLE_URL=\${PINACLE_URL:-http://localhost:$SERVER_PORT}
export PINACLE_PREVIEW_DOMAIN=\${PINACLE_PREVIEW_DOMAIN:-preview.localhost:$SERVER_PORT}
export PINACLE_SIGN_IN=\${PINACLE_SIGN_IN:-anyone}
export PINACLE_OPERATORS=\${PINACLE_OPERATORS:-operator}
export PINACLE_MASTER_KEY_FILE=\${PINACLE_MASTER_KEY_FILE:-$keys/master.key}
export PINACLE_SSH_KEY_FILE=\${PINACLE_SSH_KEY_FILE:-$keys/control}
export PINACLE_GITHUB_URL=\${PINACLE_GITHUB_URL:-http://localhost:$GITHUB_PORT}
export PINACLE_GITHUB_API_URL=\${PINACLE_GITHUB_API_URL:-http://localhost:$GITHUB_PORT/api/v3}
export PINACLE_GITHUB_GIT_URL=\${PINACLE_GITHUB_GIT_URL:-$git_url}
export PINACLE_GITHUB_CLIENT_ID=\${PINACLE_GITHUB_CLIENT_ID:-pinacle-local}
export PINACLE_GITHUB_CLIENT_SECRET=\${PINACLE_GITHUB_CLIENT_SECRET:-$(cat "$keys/github-client-secret")}
export PINACLE_SITE_ROOT=\${PINACLE_SITE_ROOT:-$ROOT/site}
ENV
  )
}

start_github() {
  local git_url=(--git-url "http://localhost:$GITHUB_PORT") listen=(--listen "127.0.0.1:$GITHUB_PORT")
  if [ "$1" -gt 0 ]; then git_url=(--git-url "http://$GITHUB_NAME") listen+=(--listen "$MAIN_ADDRESS:$GITHUB_PORT"); fi
  PINACLE_GITHUB_CLIENT_ID=pinacle-local PINACLE_GITHUB_CLIENT_SECRET="$(cat "$DATA/keys/github-client-secret")" \
    "$BIN/pinacle-dev-github" serve "${listen[@]}" --data-dir "$DATA/github" --url "http://localhost:$GITHUB_PORT" "${git_url[@]}" \
    --callback "http://localhost:$SERVER_PORT/" >>"$DATA/github.log" 2>&1 </dev/null &
  remember_process "$DATA/github.pid" $!
  wait_for 20 "the stand-in for GitHub" curl -fs -o /dev/null "http://127.0.0.1:$GITHUB_PORT/" || { tail -5 "$DATA/github.log" >&2; return 1; }
}

up() {
  local hosts="$1" fsync="${2:-on}"
  down
  mkdir -p "$BIN"
  chmod 0755 "$DATA"
  cp "$CARGO_TARGET_DIR/debug/pinacle-dev-github" "$BIN/"
  write_environment "$hosts"
  [ -n "${DATABASE_URL:-}" ] || "$ROOT/dev/postgres.sh" up "$fsync"
  if [ "$hosts" -gt 0 ]; then
    cp "$CARGO_TARGET_DIR/debug/pinacle-host" "$BIN/"
    cp "$CARGO_TARGET_DIR/debug/pinacle-init-static" "$BIN/pinacle-init"
    "$ROOT/dev/net.sh" up
  fi
  [ -n "${PINACLE_GITHUB_URL:-}" ] || start_github "$hosts"
  [ "$hosts" -eq 0 ] || "$ROOT/dev/hosts.sh" up "$hosts"
}

serve() {
  end_process "$DATA/server.pid" 20
  # Once: a restart by a test keeps running what the stack was started with.
  [ -n "${KEEP_SERVER:-}" ] && [ -x "$BIN/pinacle-server" ] || cp "$CARGO_TARGET_DIR/debug/pinacle-server" "$BIN/"
  (
    # shellcheck source=/dev/null
    . "$DATA/env"
    cd "$ROOT"
    exec "$BIN/pinacle-server" serve >>"$DATA/server.log" 2>&1 </dev/null
  ) &
  remember_process "$DATA/server.pid" $!
  wait_for 60 "the server" curl -fs -o /dev/null "http://localhost:$SERVER_PORT/health/live" || { tail -20 "$DATA/server.log" >&2; return 1; }
}

down() {
  end_process "$DATA/server.pid" 20
  "$ROOT/dev/hosts.sh" down
  end_process "$DATA/github.pid" 3
  "$ROOT/dev/net.sh" down
  "$ROOT/dev/postgres.sh" down
}

wipe() {
  down
  rm -rf "$DATA"
}

verb="${1:-}"
case "$verb" in
  up | serve | down | wipe) shift; "$verb" "$@" ;;
  *) die "usage: stack.sh up HOSTS [off] | serve | down | wipe" ;;
esac
