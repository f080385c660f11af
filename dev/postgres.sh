#!/usr/bin/env bash
# A private Postgres cluster of the stack, from the installed binaries: a socket in its own folder, no TCP.
# Usage: postgres.sh up [off] | down | crash | url
#   off:   without fsync, for data that nobody needs again; what was committed outlives a crash of Postgres, but none of the machine
#   crash: SIGKILL to all of it at once
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

FOLDER="$DATA/postgres"
DATABASE=pinacle

# Postgres refuses to run as root.
if [ "$(id -u)" = 0 ]; then as=(runuser -u postgres --); else as=(); fi
pg() { local tool="$1"; shift; "${as[@]}" "$PG_BIN/$tool" "$@"; }

up() {
  [ -x "${PG_BIN:-}/initdb" ] || die "PostgreSQL's programs are missing: run dev/setup.sh, or set DATABASE_URL to a server that is there"
  mkdir -p "$FOLDER"
  cd "$FOLDER"
  if [ "$(id -u)" = 0 ]; then chown postgres: "$FOLDER"; fi
  chmod 0700 "$FOLDER"
  if [ ! -f "$FOLDER/data/PG_VERSION" ]; then
    rm -rf "$FOLDER/data"
    say "making a Postgres cluster"
    pg initdb -D "$FOLDER/data" -U postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$DATA/initdb.log" 2>&1 || die "initdb failed; see $DATA/initdb.log"
  fi
  local options="-c listen_addresses='' -c unix_socket_directories='$FOLDER' -c unix_socket_permissions=0700 -c max_connections=200 -c fsync=${1:-on} -c full_page_writes=${1:-on}"
  pg pg_ctl status -D "$FOLDER/data" >/dev/null 2>&1 ||
    pg pg_ctl start -w -t 60 -D "$FOLDER/data" -l "$FOLDER/log" -o "$options" >/dev/null || { tail -5 "$FOLDER/log" >&2; die "Postgres did not start"; }
  pg psql -h "$FOLDER" -U postgres -qtAc "SELECT 1 FROM pg_database WHERE datname = '$DATABASE'" | grep -q 1 || pg createdb -h "$FOLDER" -U postgres "$DATABASE"
}

down() {
  [ -f "$FOLDER/data/postmaster.pid" ] || return 0
  cd "$FOLDER"
  pg pg_ctl stop -w -t 30 -m fast -D "$FOLDER/data" >/dev/null 2>&1 || pg pg_ctl stop -w -t 10 -m immediate -D "$FOLDER/data" >/dev/null 2>&1 || true
  rm -f "$FOLDER/data/postmaster.pid"
}

crash() {
  local pid child children
  read -r pid <"$FOLDER/data/postmaster.pid" || die "Postgres is not up"
  children="$(pgrep -P "$pid")" || true
  # First the one that would start others in their place.
  # shellcheck disable=SC2086 # Numbers, a word each.
  kill -KILL "$pid" $children 2>/dev/null || true
  for child in "$pid" $children; do wait_for 10 "the end of Postgres" is_gone "$child"; done
  # Where nobody reaps it, its number stands for a while, and would pass for a server that runs.
  rm -f "$FOLDER/data/postmaster.pid" "$FOLDER"/.s.PGSQL.*.lock
}

is_gone() { [ -z "$(started_at "$1")" ]; }

url() { printf 'postgres://postgres@localhost/%s?host=%s\n' "$DATABASE" "$FOLDER"; }

verb="${1:-}"
case "$verb" in
  up | down | crash | url) shift; "$verb" "$@" ;;
  *) die "usage: postgres.sh up [off] | down | crash | url" ;;
esac
