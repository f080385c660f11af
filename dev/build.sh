#!/usr/bin/env bash
# Builds what a stack runs: the server with its pages, the stand-in for GitHub, the pod hosts' programs.
# Usage: build.sh [server] [hosts] [github]; all of them without arguments
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

[ "$#" -gt 0 ] || set -- server hosts github
cargo build --quiet "${NATIVE[@]}" --bins
for part in "$@"; do
  case "$part" in
    server) cargo leptos build --frontend-only ;;
    github) ;;
    hosts)
      # Static: it is bound into pods, whose libraries are their own. Naming the target keeps the flag from build scripts.
      target="$("$RUSTC" -vV | sed -n 's/^host: //p')"
      RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet -p pinacle-host --features init --bin pinacle-init --target "$target"
      cp "$CARGO_TARGET_DIR/$target/debug/pinacle-init" "$CARGO_TARGET_DIR/debug/pinacle-init-static"
      ;;
    *) die "no such part: $part" ;;
  esac
done
