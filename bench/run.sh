#!/usr/bin/env bash
# `make bench`: every bench/*/run.sh, or those named. Never part of the tests.
# Usage: run.sh [NAME…]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

[ "$#" -gt 0 ] || set -- */
failed=0
for name in "$@"; do
  name="${name%/}"
  [ -x "$name/run.sh" ] || continue
  "./$name/run.sh" || { printf 'bench: %s FAILED\n' "$name" >&2; failed=1; }
done
exit "$failed"
