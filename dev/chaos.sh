#!/usr/bin/env bash
# `make chaos`: every fault in every step of every pod's job, on a stack of its own. Prints what failed, and how to repeat it.
# Takes CASE (cases separated by commas, as they are printed) and SEED (how far into a step it strikes). Leaves nothing behind.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT" || exit 1

"$ROOT/dev/setup.sh" || exit 1
. "$ROOT/dev/lib.sh"
"$ROOT/dev/hosts.sh" check || exit 1
. "$ROOT/dev/own-stack.sh"
own_stack

"$ROOT/dev/build.sh" hosts github 6>&- || exit 1
setsid -w "$ROOT/dev/stack.sh" up 2 off 6>&- || exit 1
# shellcheck source=/dev/null
. "$DATA/env"
export PINACLE_TEST_STACK="$STACK" PINACLE_TEST_HOSTS=2 PINACLE_CHAOS=all
[ -z "${CASE:-}" ] || export PINACLE_CHAOS_CASES="$CASE"
[ -z "${SEED:-}" ] || export PINACLE_CHAOS_SEED="$SEED"
cargo test "${NATIVE[@]}" --test it -- --ignored --nocapture chaos 6>&-
