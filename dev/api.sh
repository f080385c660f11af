#!/usr/bin/env bash
# Holds the running stack's API against its own document with made-up requests: no 500, no answer that the document does
# not describe. Bounded, and the same each time (SEED=N for others).
# Usage: api.sh HOSTS
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

BASE="http://localhost:$SERVER_PORT"
SEED="${SEED:-4}"
# Of each operation: made up, and from the corners of what the document says.
EXAMPLES=8
work="$(mktemp -d)"
pod=
end() {
  [ -z "$pod" ] || api DELETE "/pods/$pod" >/dev/null || true
  rm -rf "$work"
}
trap end EXIT
(umask 077 && "$ROOT/dev/token.sh" operator >"$work/token")

api() { # METHOD PATH [BODY]; the token goes by standard input, not by argument
  printf 'header = "Authorization: Bearer %s"\n' "$(cat "$work/token")" |
    curl -fsS -m 20 -K - -X "$1" -H 'Content-Type: application/json' ${3:+--data "$3"} "$BASE/api/v1$2"
}

# The token stands in a file, as no process list should show it.
configure() { # LINES…
  (umask 077 && { printf 'headers = { Authorization = "Bearer %s" }\n' "$(cat "$work/token")"; printf '%s\n' "$@"; } >"$work/schemathesis.toml")
}

check() { # OPTION…
  # A user's changes are limited to a burst and ten a second: beyond that there is little but 429. One worker: Python 3.11 can't
  # parse in two threads at once (SystemError: recursion depth mismatch).
  (cd "$work" && "$SCHEMATHESIS/bin/st" --config-file "$work/schemathesis.toml" run "$BASE/api/v1/openapi.json" --phases coverage,fuzzing --seed "$SEED" \
    --max-examples "$EXAMPLES" --rate-limit 30/s --workers 1 --request-timeout 30 --generation-database none --warnings off --suppress-health-check all \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance "$@")
}

say "every operation, with ids that are nobody's"
configure
check

if [ "$1" -gt 0 ]; then
  pod="$(api POST /pods "$(jq -nc --arg name "api$RANDOM" '{name: $name, tier: "dev.small"}')" | jq -er .id)"
  is_running() { [ "$(api GET "/pods/$pod" | jq -r .status)" = running ]; }
  wait_for 60 "a pod" is_running
  say "what is done in a pod, in one that runs"
  # What would end it, and what never ends by itself, is left out.
  configure "parameters = { \"path.id\" = \"$pod\" }"
  check --include-path-regex '^/api/v1/pods/\{id\}' --exclude-method DELETE --exclude-path-regex '/(stop|start|restart|retry|log)$'
fi
