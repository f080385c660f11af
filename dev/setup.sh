#!/usr/bin/env bash
# Installs what a fresh machine lacks to build and run Pinacle; a no-op when nothing is missing.
# Each need is tried in the order of docs/operating.md, "Building": what is there, what is prebuilt, what can be built.
# Writes $CACHE/toolchain.env, which the Makefile and the other scripts source.
set -euo pipefail

CACHE="${PINACLE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pinacle}"
TOOLS="$CACHE/tools"
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
CARGO_LEPTOS_VERSION=0.3.11
RUST_MINOR=96
WHAT="${1:-all}" # "build": only what compiles the product; "all": what runs and tests it, too
mkdir -p "$TOOLS/bin"
exec 9>"$CACHE/setup.lock"
flock 9

say() { printf 'setup: %s\n' "$*" >&2; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

apt_updated=
apt_install() { # package…
  has apt-get || die "missing: $*. Install them with your system's packages and run this again."
  [ "$(id -u)" = 0 ] || die "missing: $*. Run 'sudo apt-get install $*' and try again."
  if [ -z "$apt_updated" ]; then say "refreshing the package lists"; apt-get update -qq >"$CACHE/apt.log" 2>&1 || die "apt-get update failed; see $CACHE/apt.log"; apt_updated=1; fi
  say "installing $*"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >>"$CACHE/apt.log" 2>&1 || die "apt-get install $* failed; see $CACHE/apt.log"
}

# --- the compiler: one for everything, with the wasm32 target ------------------------------------------------------
rust_minor() { "$1" --version 2>/dev/null | sed -n 's/^rustc 1\.\([0-9]*\).*/\1/p'; }
has_wasm() { [ -n "$(ls "$("$1" --print sysroot)"/lib/rustlib/wasm32-unknown-unknown/lib/libstd-*.rlib 2>/dev/null)" ]; }

RUSTC_BIN=
for candidate in "$(command -v rustc || true)" /usr/bin/rustc; do
  [ -x "$candidate" ] && [ "$(rust_minor "$candidate")" -ge "$RUST_MINOR" ] && has_wasm "$candidate" && { RUSTC_BIN="$candidate"; break; }
done
if [ -z "$RUSTC_BIN" ] && has rustup && [ "$(rust_minor "$(command -v rustc)" || echo 0)" -ge "$RUST_MINOR" ]; then
  say "adding the wasm32 target through rustup"
  if timeout 120 rustup target add wasm32-unknown-unknown >"$CACHE/rustup.log" 2>&1; then RUSTC_BIN="$(command -v rustc)"; fi
fi
if [ -z "$RUSTC_BIN" ]; then
  [ -x /usr/bin/rustc ] && [ -d /usr/lib/rustlib/src/rust ] || [ -d /usr/src/rustc-web ] || apt_install rustc-web cargo-web rust-web-src rust-web-clippy lld-22
  [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] || apt_install rustc-web cargo-web rust-web-src rust-web-clippy lld-22
  if ! has_wasm /usr/bin/rustc; then
    say "building the standard library for wasm32 (about a minute)"
    work="$(mktemp -d)"
    mkdir -p "$work/src"
    printf '#![no_std]\n' >"$work/src/lib.rs"
    printf '[package]\nname = "seedling"\nversion = "0.0.0"\nedition = "2021"\n[profile.release]\npanic = "abort"\n' >"$work/Cargo.toml"
    (cd "$work" && PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes CARGO_TARGET_DIR="$work/target" \
      /usr/bin/cargo build --release -Z build-std=core,alloc,std,panic_abort,panic_unwind,test --target wasm32-unknown-unknown) \
      >"$CACHE/wasm-std.log" 2>&1 || die "the wasm32 standard library did not build; see $CACHE/wasm-std.log"
    into=/usr/lib/rustlib/wasm32-unknown-unknown/lib
    mkdir -p "$into"
    find "$work/target/wasm32-unknown-unknown/release/deps" -name '*.rlib' ! -name '*seedling*' -exec cp {} "$into/" \;
    rm -rf "$work"
  fi
  RUSTC_BIN=/usr/bin/rustc
fi
CARGO_BIN="$(dirname "$RUSTC_BIN")/cargo"
[ -x "$CARGO_BIN" ] || die "no cargo beside $RUSTC_BIN"
RUSTFMT_BIN="$(command -v rustfmt || true)"
export PATH="$TOOLS/bin:$(dirname "$RUSTC_BIN"):$PATH" RUSTC="$RUSTC_BIN"

# --- cargo-leptos and wasm-bindgen --------------------------------------------------------------------------------
build_tool() { # crate version [feature flags]
  local crate="$1" version="$2"; shift 2
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    CARGO_TARGET_DIR="$CACHE/tools-target" "$CARGO_BIN" install "$crate" --version "$version" --locked --root "$TOOLS" "$@" \
    >"$CACHE/$crate.log" 2>&1 || die "$crate $version did not build; see $CACHE/$crate.log"
}
if [ "$(cargo-leptos --version 2>/dev/null | awk '{print $2}')" != "$CARGO_LEPTOS_VERSION" ]; then
  say "building cargo-leptos $CARGO_LEPTOS_VERSION (about ten minutes on two cores, once)"
  build_tool cargo-leptos "$CARGO_LEPTOS_VERSION" --features no_downloads
fi
BINDGEN_VERSION="$(awk '/^name = "wasm-bindgen"$/{getline; gsub(/version = |"/,""); print; exit}' "$HERE/../Cargo.lock" 2>/dev/null || true)"
BINDGEN_VERSION="${BINDGEN_VERSION:-0.2.130}"
if [ "$(wasm-bindgen --version 2>/dev/null | awk '{print $2}')" != "$BINDGEN_VERSION" ]; then
  say "building wasm-bindgen $BINDGEN_VERSION (about four minutes, once)"
  build_tool wasm-bindgen-cli "$BINDGEN_VERSION"
fi
rm -rf "$CACHE/tools-target"
