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
  [ -f "$keys/github-ssh" ] || ssh-keygen -q -t ed25519 -N '' -C '' -f "$keys/github-ssh"
  [ -f "$keys/gateway" ] || ssh-keygen -q -t ed25519 -N '' -C '' -f "$keys/gateway"
  if [ ! -f "$keys/github-app" ]; then
    ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -C '' -f "$keys/github-app"
    ssh-keygen -e -m PEM -f "$keys/github-app" >"$keys/github-app.pub"
  fi
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
export PINACLE_GITHUB_SSH_URL=\${PINACLE_GITHUB_SSH_URL:-ssh://git@$GITHUB_NAME}
export PINACLE_GITHUB_SSH_HOST_KEYS=\${PINACLE_GITHUB_SSH_HOST_KEYS:-'$(cut -d' ' -f1,2 "$keys/github-ssh.pub")'}
export PINACLE_GITHUB_CLIENT_ID=\${PINACLE_GITHUB_CLIENT_ID:-pinacle-local}
export PINACLE_GITHUB_CLIENT_SECRET=\${PINACLE_GITHUB_CLIENT_SECRET:-$(cat "$keys/github-client-secret")}
export PINACLE_GITHUB_APP_ID=\${PINACLE_GITHUB_APP_ID:-pinacle-local-app}
export PINACLE_GITHUB_APP_KEY_FILE=\${PINACLE_GITHUB_APP_KEY_FILE:-$keys/github-app}
export PINACLE_GATEWAY_LISTEN=\${PINACLE_GATEWAY_LISTEN:-127.0.0.1:$GATEWAY_PORT}
export PINACLE_GATEWAY_KEY_FILE=\${PINACLE_GATEWAY_KEY_FILE:-$keys/gateway}
export PINACLE_SITE_ROOT=\${PINACLE_SITE_ROOT:-$ROOT/site}
ENV
  )
}

start_github() {
  local git_url=(--git-url "http://localhost:$GITHUB_PORT") listen=(--listen "127.0.0.1:$GITHUB_PORT")
  if [ "$1" -gt 0 ]; then git_url=(--git-url "http://$GITHUB_NAME") listen+=(--listen "$MAIN_ADDRESS:$GITHUB_PORT"); fi
  PINACLE_GITHUB_CLIENT_ID=pinacle-local PINACLE_GITHUB_CLIENT_SECRET="$(cat "$DATA/keys/github-client-secret")" \
    "$BIN/pinacle-dev-github" serve "${listen[@]}" --data-dir "$DATA/github" --url "http://localhost:$GITHUB_PORT" "${git_url[@]}" \
    --callback "http://localhost:$SERVER_PORT/" --app-id pinacle-local-app --app-key "$DATA/keys/github-app.pub" >>"$DATA/github.log" 2>&1 </dev/null &
  remember_process "$DATA/github.pid" $!
  wait_for 20 "the stand-in for GitHub" curl -fs -o /dev/null "http://127.0.0.1:$GITHUB_PORT/" || { tail -5 "$DATA/github.log" >&2; return 1; }
}

# Git over ssh, for pods. A user `git` that only this sshd knows of; what it may run stands with its key.
start_github_ssh() {
  local folder="$DATA/github-ssh" user
  user="git:x:$(id -u):$(id -g)::/:/bin/sh"
  mkdir -p "$folder" /run/sshd
  { cat /etc/passwd; printf '%s\n' "$user"; } >"$folder/passwd"
  { cat /etc/shadow; printf 'git:*:19000:0:99999:7:::\n'; } >"$folder/shadow"
  chmod 0600 "$folder/shadow"
  touch "$DATA/github/authorized_keys"
  cat >"$folder/sshd_config" <<SSHD
ListenAddress $MAIN_ADDRESS:$GITHUB_SSH_PORT
HostKey $DATA/keys/github-ssh
AuthorizedKeysFile $DATA/github/authorized_keys
AllowUsers git
AuthenticationMethods publickey
PermitRootLogin forced-commands-only
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
MaxStartups 100:30:300
PrintMotd no
PidFile none
SSHD
  unshare --mount sh -c 'mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/shadow" /etc/shadow && exec /usr/sbin/sshd -D -e -f "$1/sshd_config"' - "$folder" \
    >>"$DATA/github-ssh.log" 2>&1 </dev/null &
  remember_process "$DATA/github-ssh.pid" $!
  wait_for 10 "the stand-in's sshd" bash -c "exec 3<>/dev/tcp/$MAIN_ADDRESS/$GITHUB_SSH_PORT" || { tail -5 "$DATA/github-ssh.log" >&2; return 1; }
}

up() {
  local hosts="$1" fsync="${2:-on}"
  down
  mkdir -p "$BIN"
  chmod 0755 "$DATA"
  cp "$BUILT_IN/pinacle-dev-github" "$BIN/"
  write_environment "$hosts"
  [ -n "${DATABASE_URL:-}" ] || "$ROOT/dev/postgres.sh" up "$fsync"
  if [ "$hosts" -gt 0 ]; then
    cp "$BUILT_IN/pinacle-host" "$BIN/"
    cp "$BUILT_IN/pinacle-init-static" "$BIN/pinacle-init"
    "$ROOT/dev/net.sh" up
  fi
  if [ -z "${PINACLE_GITHUB_URL:-}" ]; then
    start_github "$hosts"
    [ "$hosts" -eq 0 ] || start_github_ssh
  fi
  [ "$hosts" -eq 0 ] || "$ROOT/dev/hosts.sh" up "$hosts"
}

serve() {
  end_process "$DATA/server.pid" 20
  # Once: a restart by a test keeps running what the stack was started with.
  [ -n "${KEEP_SERVER:-}" ] && [ -x "$BIN/pinacle-server" ] || cp "$BUILT_IN/pinacle-server" "$BIN/"
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
  end_process "$DATA/github-ssh.pid" 3
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
