#!/usr/bin/env bash
# Signs an account of the stand-in in by the real OAuth flow and prints an API token on the running stack.
# Usage: token.sh LOGIN [read|write]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

LOGIN="${1:-}" SCOPE="${2:-write}"
[ -n "$LOGIN" ] || die "usage: make token LOGIN=owner"
BASE="http://localhost:$SERVER_PORT"
EXPIRES_DAYS=30
curl -fs -o /dev/null -m 5 "$BASE/health/live" || die "nothing answers at $BASE: start it with 'make run'"

jar="$(mktemp)"
trap 'rm -f "$jar"' EXIT
# __Host- cookies are Secure: curl sends those over http to localhost names alone, as browsers do.
web() { curl -fsS -m 20 -b "$jar" -c "$jar" -H "Origin: $BASE" -H "Referer: $BASE/" "$@"; }
location() { web -o /dev/null -w '%{redirect_url}' "$@"; }

ask="$(location "$BASE/auth/github?return_to=/")"
[ -n "$ask" ] || die "the server did not send the sign-in on"
back="$(location "$ask&login=$LOGIN" 2>/dev/null || true)"
case "$back" in "$BASE"/*code=*) ;; *) die "the stand-in refused: is '$LOGIN' one of owner, member, outsider, operator, two-part-name?" ;; esac
location "$back" >/dev/null
answer="$(web -H 'Accept: application/json' --data-urlencode "name=script $(date -u +%FT%TZ)" --data "scope=$SCOPE" --data "expires_days=$EXPIRES_DAYS" "$BASE/fn/account/create-token")"
jq -er .token <<<"$answer" || die "the server gave no token"
