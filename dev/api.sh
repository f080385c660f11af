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
# Who asks: each user's changes are limited apart. Of hosts an operator alone is told anything.
LOGINS=(operator owner member outsider two-part-name)
# Of a hundred answers, those that may say no more than "too many" or "not signed in".
MOST_UNSAID=10
work="$(mktemp -d)"
pod=
end() {
  [ -z "$pod" ] || api DELETE "/pods/$pod" >/dev/null || true
  rm -rf "$work"
}
trap end EXIT
# The tokens stand in files, as no process list should show them.
for login in "${LOGINS[@]}"; do (umask 077 && "$ROOT/dev/token.sh" "$login" >"$work/$login.token"); done

api() { # METHOD PATH [BODY]; the token goes by standard input, not by argument
  printf 'header = "Authorization: Bearer %s"\n' "$(cat "$work/operator.token")" |
    curl -fsS -m 20 -K - -X "$1" -H 'Content-Type: application/json' ${3:+--data "$3"} "$BASE/api/v1$2"
}

# Before each request: whose turn it is. A user's changes are limited to a burst and ten a second, and what is beyond that is
# answered before it is read; we stay below, from nothing at first, for the run before may have taken the burst.
cat >"$work/turns.py" <<'PYTHON'
import base64, json, os, pathlib, time
import schemathesis

BURST, A_SECOND = 80, 9
NOBODYS = "00000000-0000-7000-8000-000000000000"
TOKENS = {login: pathlib.Path(login + ".token").read_text().strip() for login in os.environ["LOGINS"].split()}


def name_of(token):
    claims = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]


OURS = {name_of(token) for token in TOKENS.values()}
due = dict.fromkeys(TOKENS, time.monotonic())


@schemathesis.hook
def before_call(context, case, kwargs):
    logins = ["operator"] if "/hosts" in case.path else list(TOKENS)
    login = min(logins, key=due.get)
    if case.method.upper() not in ("GET", "HEAD"):
        now = time.monotonic()
        time.sleep(max(0, due[login] - now))
        due[login] = max(due[login], now - BURST / A_SECOND) + 1 / A_SECOND
    # What it has learned from answers must not revoke what it asks with.
    if (case.path_parameters or {}).get("id") in OURS:
        case.path_parameters["id"] = NOBODYS
    case.headers["Authorization"] = "Bearer " + TOKENS[login]
PYTHON

check() { # LOGINS OPTION…
  local logins="$1" answers="$work/answers.har" all unsaid; shift
  # One worker: Python 3.11 can't parse in two threads at once (SystemError: recursion depth mismatch).
  (cd "$work" && LOGINS="$logins" SCHEMATHESIS_HOOKS="$work/turns.py" "$SCHEMATHESIS/bin/st" --config-file "$work/schemathesis.toml" \
    run "$BASE/api/v1/openapi.json" --phases coverage,fuzzing --seed "$SEED" --max-examples "$EXAMPLES" --workers 1 --request-timeout 30 \
    --generation-database none --warnings off --suppress-health-check all --report har --report-har-path "$answers" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance "$@")
  # A machine that joins shows another kind of token, and has none here.
  read -r all unsaid < <(jq -r '[.log.entries[] | select(.request.url | contains("/hosts/join") | not) | .response.status]
    | "\(length) \(map(select(. == 429 or . == 401)) | length)"' "$answers")
  say "$all answers, $unsaid of them \"too many\" or \"not signed in\""
  [ "$all" -gt 0 ] && [ $((unsaid * 100)) -le $((all * MOST_UNSAID)) ] || die "too few requests have come as far as to be read"
}

say "every operation, with ids that are nobody's"
: >"$work/schemathesis.toml"
check "${LOGINS[*]}"

if [ "$1" -gt 0 ]; then
  pod="$(api POST /pods "$(jq -nc --arg name "api$RANDOM" '{name: $name, tier: "dev.small"}')" | jq -er .id)"
  is_running() { [ "$(api GET "/pods/$pod" | jq -r .status)" = running ]; }
  wait_for 60 "a pod" is_running
  say "what is done in a pod, in one that runs"
  # What would end it, and what never ends by itself, is left out.
  printf 'parameters = { "path.id" = "%s" }\n' "$pod" >"$work/schemathesis.toml"
  check operator --include-path-regex '^/api/v1/pods/\{id\}' --exclude-method DELETE --exclude-path-regex '/(stop|start|restart|retry|log)$'
fi
