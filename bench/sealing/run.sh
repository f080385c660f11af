#!/usr/bin/env bash
# Sealing, opening and re-wrapping 10,000 secrets, beside the bare cipher in the same run; writes bench/sealing/RESULTS.md.
# PINACLE_BUILD=debug: without waiting for a release build; BENCH_RESULTS: another file, or empty for none.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../lib.sh"
"$ROOT/dev/setup.sh"
. "$ROOT/dev/lib.sh"
cd "$ROOT"

[ -n "${BUILT:-}" ] || "$ROOT/dev/build.sh" github
keys="$(mktemp -d)"
trap 'rm -rf "$keys"' EXIT
umask 077
head -c 32 /dev/urandom | base64 >"$keys/old"
{ head -c 32 /dev/urandom | base64; cat "$keys/old"; } >"$keys/both"
results="${BENCH_RESULTS-$here/RESULTS.md}"
{
  printf '# Sealing 10,000 secrets\n\n'
  printf '%s, %s processors, load %s before the run; one thread, the best of five rounds. Pinacle %s (%s build).\n\n' \
    "$(date -u +%F)" "$(nproc)" "$(cut -d' ' -f1-3 /proc/loadavg)" "$(git rev-parse --short HEAD)" "$PINACLE_BUILD"
  "$BUILT_IN/pinacle-bench-sealing" "$keys/old" "$keys/both"
} | tee "${results:-/dev/null}"
