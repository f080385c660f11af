#!/usr/bin/env bash
# `make test`: everything, from nothing: format, lint, unit and integration tests on a stack of their own, Playwright.
# Ends with one line, `N passed, N failed`. Leaves nothing behind, also when interrupted; sweeps what a killed run left.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

HOSTS="${HOSTS:-2}"
passed=0 failed=0
broken=() # their names, said once more at the end
cd "$ROOT" || exit 1

"$ROOT/dev/setup.sh" || exit 1
. "$ROOT/dev/lib.sh"

. "$ROOT/dev/own-stack.sh"
own_stack
results="$(mktemp -d)"

# --- counting ---

# step NAME COMMAND…: one test that passes or fails.
step() {
  local name="$1"; shift
  say "$name"
  if "$@" 6>&-; then passed=$((passed + 1)); else failed=$((failed + 1)); broken+=("$name"); say "$name FAILED"; fi
}

# counted NAME COMMAND…: a run of tests whose own counts are added up.
counted() {
  local name="$1" code ok bad; shift
  say "$name"
  "$@" 6>&- 2>&1 | tee "$results/log"
  code="${PIPESTATUS[0]}"
  # cargo test: `test result: ok. 9 passed; 0 failed;` — end2end: `9 passed, 0 failed`.
  ok="$(sed -nE 's/^(test result: .*\. )?([0-9]+) passed[;,].*/\2/p' "$results/log" | awk '{n += $1} END {print n + 0}')"
  bad="$(sed -nE 's/^(test result: .*\. )?[0-9]+ passed[;,] ([0-9]+) failed.*/\2/p' "$results/log" | awk '{n += $1} END {print n + 0}')"
  # What broke before it could count is one failure.
  if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  passed=$((passed + ok)) failed=$((failed + bad))
  # cargo test: `test a::b ... FAILED` — end2end: `FAIL what a person does`.
  [ "$bad" -eq 0 ] || while read -r line; do broken+=("$name: $line"); done < <(sed -nE 's/^test (.*) \.\.\. FAILED$/\1/p; s/^FAIL (.*)/\1/p' "$results/log")
}

step "format" "$ROOT/dev/lint.sh" check-format
step "build, without a warning of compiler or clippy" "$ROOT/dev/lint.sh" clippy

if [ "$HOSTS" -gt 0 ] && ! "$ROOT/dev/hosts.sh" check; then failed=$((failed + 1)); HOSTS=0; fi
step "stack" setsid -w "$ROOT/dev/stack.sh" up "$HOSTS" off
# What the tests start by themselves (servers, databases) takes its addresses from the stack's environment.
# shellcheck source=/dev/null
. "$DATA/env"
export PINACLE_TEST_STACK="$STACK" PINACLE_TEST_HOSTS="$HOSTS"
counted "tests" cargo test "${NATIVE[@]}" --no-fail-fast

# The hosts that those tests joined to servers of their own begin anew; faults have them, and Postgres, to themselves.
[ "$HOSTS" -eq 0 ] || step "fresh hosts" setsid -w "$ROOT/dev/hosts.sh" anew "$HOSTS"
counted "a sample of all faults (make chaos: all of them)" cargo test "${NATIVE[@]}" --test it -- --ignored --nocapture chaos
[ "$HOSTS" -eq 0 ] || step "fresh hosts" setsid -w "$ROOT/dev/hosts.sh" anew "$HOSTS"
step "server" setsid -w "$ROOT/dev/stack.sh" serve
[ "$HOSTS" -eq 0 ] || step "hosts join" "$ROOT/dev/join.sh" "$HOSTS"
counted "browser" env BASE_URL="http://localhost:$SERVER_PORT" GITHUB_URL="http://localhost:$GITHUB_PORT" npm test --silent --prefix end2end

step "the API against its document" "$ROOT/dev/api.sh" "$HOSTS"

if [ "$failed" -gt 0 ] && [ -f "$DATA/server.log" ]; then
  say "what the server wrote last"
  grep -E 'ERROR|WARN' "$DATA/server.log" | tail -n 40 >&2
fi
[ "${#broken[@]}" -eq 0 ] || printf '\nfailed: %s' "${broken[@]}"
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
