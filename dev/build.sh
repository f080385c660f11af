#!/usr/bin/env bash
# Builds what a stack runs: the server with its pages, the stand-in for GitHub, the pod hosts' programs.
# Usage: build.sh [server] [hosts] [github]; all of them without arguments. PINACLE_BUILD=release: optimized.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

[ "$#" -gt 0 ] || set -- server hosts github
case "$PINACLE_BUILD" in
  debug) release=() pages=() ;;
  release)
    release=(--release) pages=(--release --precompress)
    # Files under names that hold a hash may be kept for ever.
    export LEPTOS_HASH_FILES=true
    smaller="$("$ROOT/dev/wasm-opt.sh")"
    export PATH="$smaller:$PATH"
    ;;
  *) die "PINACLE_BUILD is debug or release" ;;
esac
cargo build --quiet "${release[@]}" "${NATIVE[@]}" --bins
for part in "$@"; do
  case "$part" in
    server)
      rm -rf "$ROOT/site/pkg" "$ROOT/site/hash.txt"
      cargo leptos build --frontend-only --split "${pages[@]}"
      [ "$PINACLE_BUILD" = debug ] || cp "$BUILT_IN/hash.txt" "$ROOT/site/"
      ;;
    github) ;;
    hosts)
      # Static: it is bound into pods, whose libraries are their own. Naming the target keeps the flag from build scripts.
      target="$("$RUSTC" -vV | sed -n 's/^host: //p')"
      RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet "${release[@]}" -p pinacle-host --features init --bin pinacle-init --target "$target"
      cp "$CARGO_TARGET_DIR/$target/$PINACLE_BUILD/pinacle-init" "$BUILT_IN/pinacle-init-static"
      ;;
    *) die "no such part: $part" ;;
  esac
done
