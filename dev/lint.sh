#!/usr/bin/env bash
# Format and lint, as `make fmt`, `make lint` and `make test` do it.
# Usage: lint.sh format | check-format | clippy
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

sources() { git ls-files -z --cached --others --exclude-standard '*.rs'; }

case "${1:-}" in
  format) sources | xargs -0 "$RUSTFMT" --edition 2024 ;;
  check-format) sources | xargs -0 "$RUSTFMT" --edition 2024 --check ;;
  # All that is built, programs, pages and tests, is linted by the compiler that builds it; cargo says again what it has said before.
  clippy)
    [ -n "${RUSTC_WORKSPACE_WRAPPER:-}" ] || die "there is no clippy-driver beside $RUSTC"
    log="$(mktemp)"
    trap 'rm -f "$log"' EXIT
    { "$ROOT/dev/build.sh" && cargo test --quiet "${NATIVE[@]}" --no-run; } 2>&1 | tee "$log"
    # cargo-leptos has it in colours.
    if grep -qE '^[^a-z]*([0-9;]*m)*warning' "$log"; then die "a warning is a fault"; fi
    ;;
  *) die "usage: lint.sh format | check-format | clippy" ;;
esac
