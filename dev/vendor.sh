#!/usr/bin/env bash
# Copies what the browser gets as it is (xterm.js) from npm to public/vendor, and what end2end/ needs; a no-op when it is there.
set -euo pipefail
# shellcheck disable=SC2034 # What messages begin with.
STACK=vendor
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

FROM="$ROOT/dev/vendor"
INTO="$ROOT/public/vendor"
install_into() { # folder: what its lock file says, unless that is there
  local stamp
  stamp="$(sha256sum <"$1/package-lock.json")"
  [ "$(cat "$1/node_modules/.installed" 2>/dev/null)" != "$stamp" ] || return 0
  say "installing what ${1#"$ROOT"/} needs from npm"
  npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 || die "npm ci failed in $1"
  printf '%s' "$stamp" >"$1/node_modules/.installed"
}

install_into "$FROM"
if ! cmp -s "$FROM/package-lock.json" "$INTO/package-lock.json"; then
  mkdir -p "$INTO"
  for addon in addon-fit addon-unicode11 addon-web-links; do cp "$FROM/node_modules/@xterm/$addon/lib/$addon.js" "$INTO/"; done
  cp "$FROM/node_modules/@xterm/xterm/lib/xterm.js" "$FROM/node_modules/@xterm/xterm/css/xterm.css" "$INTO/"
  cp "$FROM/node_modules/@xterm/xterm/LICENSE" "$INTO/xterm.LICENSE"
  cp "$FROM/package-lock.json" "$INTO/"
fi
[ ! -f "$ROOT/end2end/package-lock.json" ] || install_into "$ROOT/end2end"
