#!/usr/bin/env bash
# What the scripts of the local stack share: where things lie, what a stack's name and number decide, how to say things.
# Sourced, not run. Takes STACK (a name, `local` by default) and STACK_NUMBER (0–99: addresses and ports follow from it).
# shellcheck disable=SC2034 # What is unused here is used by those who source it.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="${PINACLE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pinacle}"
# Root's home is closed to the user that Postgres runs as.
if [ "$(id -u)" = 0 ]; then default_data=/var/lib/pinacle-dev; else default_data="${XDG_DATA_HOME:-$HOME/.local/share}/pinacle"; fi
DATA_HOME="${PINACLE_DATA_HOME:-$default_data}"
# shellcheck source=/dev/null
[ ! -f "$CACHE/toolchain.env" ] || . "$CACHE/toolchain.env"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/pinacle/target}"
# leptos reads it as it is compiled, and names the pages' WASM after it: the same for cargo-leptos and for plain cargo,
# or each would build the other's crates again, and the server would ask for a file that is not there.
export LEPTOS_OUTPUT_NAME=pinacle

STACK="${STACK:-local}"
STACK_NUMBER="${STACK_NUMBER:-0}"
DATA="$DATA_HOME/$STACK"
# The programs that this stack runs: copies, so that a build beside it changes nothing.
BIN="$DATA/bin"
# What is built and run: debug, or release for what is measured.
export PINACLE_BUILD="${PINACLE_BUILD:-debug}"
BUILT_IN="$CARGO_TARGET_DIR/$PINACLE_BUILD"
# Debug builds are linted as they are compiled: to a linter of its own, every dependency would be compiled once more.
LINTER="$(dirname "${RUSTC:-/usr/bin/rustc}")/clippy-driver"
if [ "$PINACLE_BUILD" = debug ] && [ -x "$LINTER" ]; then export RUSTC_WORKSPACE_WRAPPER="$LINTER"; else unset RUSTC_WORKSPACE_WRAPPER; fi
# Everything that the kernel knows by name carries this: namespaces, cgroups, links.
PREFIX="pinacle-$STACK"
# Links have at most 15 characters.
LINK="pn$STACK_NUMBER"
NET_NS="$PREFIX-net"
# Main side and outer side of the link between this machine and the stack's own "internet".
MAIN_ADDRESS="10.77.$STACK_NUMBER.1"
NET_ADDRESS="10.77.$STACK_NUMBER.2"
# Where pods find the stand-in for GitHub (RFC 5737 documentation addresses).
INTERNET_ADDRESS=198.51.100.10
GITHUB_NAME=github.pinacle.test
METADATA_ADDRESS=169.254.169.254
LAN_ADDRESS=192.168.77.1

# Our own packages but the pages in the browser, always built together: cargo compiles what they share anew for each set of
# packages and features that it is asked for.
NATIVE=(-p pinacle-app -p pinacle-server -p pinacle-host -p pinacle-dev-github -p pinacle-bench-queue -p pinacle-bench-sealing
  --features pinacle-host/daemon)

# Holds the API against its document; installed by setup.sh, run by api.sh.
SCHEMATHESIS_VERSION=4.32.5
SCHEMATHESIS="$CACHE/tools/schemathesis-$SCHEMATHESIS_VERSION"

SERVER_PORT="${SERVER_PORT:-$((3000 + 10 * STACK_NUMBER))}"
GITHUB_PORT="${GITHUB_PORT:-$((SERVER_PORT + 1))}"
GITHUB_SSH_PORT="${GITHUB_SSH_PORT:-$((SERVER_PORT + 2))}"
GATEWAY_PORT="${GATEWAY_PORT:-$((SERVER_PORT + 3))}"

say() { printf '%s: %s\n' "$STACK" "$*" >&2; }
die() { printf '%s: %s\n' "$STACK" "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# host_address N: the address of the stack's host N, reachable from this machine; host_gateway N: the other end of its link.
host_address() { printf '10.77.%d.%d' "$STACK_NUMBER" $((4 * $1 + 2)); }
host_gateway() { printf '10.77.%d.%d' "$STACK_NUMBER" $((4 * $1 + 1)); }

# wait_for SECONDS WHAT COMMAND…: asks five times a second until the command succeeds.
wait_for() {
  local seconds="$1" what="$2" end; shift 2
  end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { say "$what did not come up within $seconds s"; return 1; }
    sleep 0.2
  done
}

# end_process PIDFILE [SECONDS]: SIGTERM, then SIGKILL after so many seconds; only if the process is still the one written down.
end_process() {
  local file="$1" seconds="${2:-10}" pid started end
  [ -f "$file" ] || return 0
  read -r pid started <"$file" || true
  if [ -n "${pid:-}" ] && [ "$(started_at "$pid")" = "$started" ]; then
    kill "$pid" 2>/dev/null || true
    end=$((SECONDS + seconds))
    while [ "$(started_at "$pid")" = "$started" ] && [ "$SECONDS" -lt "$end" ]; do sleep 0.1; done
    [ "$(started_at "$pid")" != "$started" ] || kill -KILL "$pid" 2>/dev/null || true
  fi
  rm -f "$file"
}

# started_at PID: when it started, in ticks since boot; nothing for a process that is gone or a zombie.
started_at() { sed -E 's/^.*\) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" {print $20}' || true; }
remember_process() { printf '%s %s\n' "$2" "$(started_at "$2")" >"$1"; }
is_alive() { # PIDFILE
  local pid started
  [ -f "$1" ] && read -r pid started <"$1" && [ -n "$started" ] && [ "$(started_at "$pid")" = "$started" ]
}
