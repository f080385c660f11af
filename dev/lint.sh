#!/usr/bin/env bash
# Format and lint, as `make fmt`, `make lint` and `make test` do it.
# Usage: lint.sh format | check-format | clippy | clippy-workspace | clippy-wasm
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

sources() { git ls-files -z --cached --others --exclude-standard '*.rs'; }

case "${1:-}" in
  format) sources | xargs -0 "$RUSTFMT" --edition 2024 ;;
  check-format) sources | xargs -0 "$RUSTFMT" --edition 2024 --check ;;
  clippy) "$0" clippy-workspace && "$0" clippy-wasm ;;
  clippy-workspace) cargo clippy --quiet --workspace --all-targets --features pinacle-host/daemon -- -D warnings ;;
  # Alone: a build of the workspace unifies features and would hide what the browser lacks.
  clippy-wasm) cargo clippy --quiet -p pinacle-frontend --target wasm32-unknown-unknown -- -D warnings ;;
  *) die "usage: lint.sh format | check-format | clippy | clippy-workspace | clippy-wasm" ;;
esac
