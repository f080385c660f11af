#!/usr/bin/env bash
# Installs what a fresh machine lacks to build, run and test Pinacle; a no-op when nothing is missing.
# Each need is tried in this order: what is there, what is prebuilt, what can be built.
# Writes $CACHE/toolchain.env, which the other scripts source through lib.sh.
set -euo pipefail
# shellcheck disable=SC2034 # What messages begin with.
STACK=setup
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TOOLS="$CACHE/tools"
CARGO_LEPTOS_VERSION=0.3.11
RUST_MINOR=96
RUST_PACKAGES=(rustc-web cargo-web rust-web-src rust-web-clippy lld-22)
BINDGEN_VERSION="$(awk '/^name = "wasm-bindgen"$/{getline; gsub(/version = |"/,""); print; exit}' "$ROOT/Cargo.lock")"
STAMP="# $(cat "${BASH_SOURCE[0]}" <(printf '%s' "$BINDGEN_VERSION") | sha256sum | cut -c1-32)"

pg_bin() { find /usr/lib/postgresql /usr/pgsql-* /usr/local/pgsql /opt/homebrew/opt/postgresql* -path '*/bin/initdb' 2>/dev/null | sort -V | tail -1 | xargs -r dirname; }

# Everything was there the last time, and the big things still are.
if [ "$(head -1 "$CACHE/toolchain.env" 2>/dev/null)" = "$STAMP" ] && [ -x "${RUSTC:-}" ] && [ -x "$TOOLS/bin/cargo-leptos" ] && [ -x "$TOOLS/bin/wasm-bindgen" ] && [ -x "$SCHEMATHESIS/bin/st" ]; then
  exec "$ROOT/dev/vendor.sh"
fi

mkdir -p "$TOOLS/bin"
exec 9>"$CACHE/setup.lock"
flock 9

# --- packages ---

APT_LOG="$CACHE/apt.log"
policy=
end_policy() { [ -z "$policy" ] || rm -f /usr/sbin/policy-rc.d; }
trap end_policy EXIT

apt_install() { # package…
  has apt-get || die "missing: $*. Install them with your system's packages and run this again."
  [ "$(id -u)" = 0 ] || die "missing: $*. Run 'sudo apt-get install $*' and try again."
  # The stack starts its own Postgres and sshd: those that come with the packages stay off, and no cluster is made.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    policy=1
  fi
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    printf 'create_main_cluster = false\n' >/etc/postgresql-common/createcluster.conf
  fi
  if [ -z "${apt_updated:-}" ]; then
    say "refreshing the package lists"
    apt-get update -qq >"$APT_LOG" 2>&1 || die "apt-get update failed; see $APT_LOG"
    apt_updated=1
  fi
  say "installing $*"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold "$@" \
    >>"$APT_LOG" 2>&1 || die "apt-get install $* failed; see $APT_LOG"
}

missing=()
need() { has "$1" || missing+=("$2"); } # command package
export PATH="$TOOLS/bin:$PATH:/usr/sbin:/sbin"
[ -n "$(pg_bin)" ] || missing+=(postgresql)
need runsc runsc
need sshd openssh-server
need nft nftables
need ip iproute2
need dnsmasq dnsmasq-base
need mmdebstrap mmdebstrap
need zstd zstd
need git git
need rsync rsync
need curl curl
need mkfs.ext4 e2fsprogs
need gcc build-essential
need jq jq
has chromium || has google-chrome || missing+=(chromium)
has node || missing+=(nodejs)
has npm || missing+=(npm)
need python3 python3
python3 -c "import ensurepip" 2>/dev/null || missing+=(python3-venv)
if [ "${#missing[@]}" -gt 0 ]; then apt_install "${missing[@]}"; fi
"$ROOT/dev/runsc.sh"

# --- one compiler for everything, with the wasm32 target ---

rust_minor() { "$1" --version 2>/dev/null | sed -n 's/^rustc 1\.\([0-9]*\).*/\1/p'; }
new_enough() { local minor; minor="$(rust_minor "$1")"; [ "${minor:-0}" -ge "$RUST_MINOR" ]; }
has_wasm() { compgen -G "$("$1" --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib/libstd-*.rlib" >/dev/null; }

# Debian's compiler comes without the standard library for wasm32: build that from its source, small, for browsers load it.
build_wasm_std() {
  local work into=/usr/lib/rustlib/wasm32-unknown-unknown/lib
  say "building the standard library for wasm32 (about a minute, once)"
  work="$(mktemp -d)"
  mkdir -p "$work/src"
  printf '#![no_std]\n' >"$work/src/lib.rs"
  printf '[package]\nname = "seedling"\nversion = "0.0.0"\nedition = "2021"\n[profile.release]\nopt-level = "z"\npanic = "abort"\n' >"$work/Cargo.toml"
  (cd "$work" && PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes CARGO_TARGET_DIR="$work/target" \
    /usr/bin/cargo build --release -Z build-std=core,alloc,std,panic_abort,panic_unwind,test --target wasm32-unknown-unknown) \
    >"$CACHE/wasm-std.log" 2>&1 || die "the wasm32 standard library did not build; see $CACHE/wasm-std.log"
  mkdir -p "$into"
  find "$work/target/wasm32-unknown-unknown/release/deps" -name '*.rlib' ! -name '*seedling*' -exec cp {} "$into/" \;
  rm -rf "$work"
}

compiler=
for candidate in "$(command -v rustc || true)" /usr/bin/rustc; do
  if [ -x "$candidate" ] && new_enough "$candidate" && has_wasm "$candidate"; then compiler="$candidate"; break; fi
done
if [ -z "$compiler" ] && has rustup && new_enough "$(command -v rustc)"; then
  say "adding the wasm32 target through rustup"
  if timeout 120 rustup target add wasm32-unknown-unknown >"$CACHE/rustup.log" 2>&1; then compiler="$(command -v rustc)"; fi
fi
if [ -z "$compiler" ]; then
  new_enough /usr/bin/rustc && [ -x /usr/bin/cargo ] && [ -x /usr/bin/cargo-clippy ] && [ -d /usr/lib/rustlib/src/rust ] || apt_install "${RUST_PACKAGES[@]}"
  has_wasm /usr/bin/rustc || build_wasm_std
  compiler=/usr/bin/rustc
fi
# Debian's compiler looks for the linker of wasm32 under this name, and has it under another.
if [ "$compiler" = /usr/bin/rustc ] && ! has rust-lld; then ln -sf "$(command -v lld-22 || command -v lld)" "$TOOLS/bin/rust-lld"; fi
cargo="$(dirname "$compiler")/cargo"
[ -x "$cargo" ] || die "no cargo beside $compiler"
formatter="$(command -v rustfmt || true)"
[ -n "$formatter" ] || formatter="$(find "$HOME/.cargo/bin/rustfmt" 2>/dev/null || true)"
if [ -z "$formatter" ] && has apt-get && [ "$(id -u)" = 0 ]; then apt_install rustfmt; formatter=/usr/bin/rustfmt; fi
compiler_folder="$(dirname "$compiler")"
export PATH="$TOOLS/bin:$compiler_folder:$PATH" RUSTC="$compiler"

# --- cargo-leptos and wasm-bindgen ---

# Quickly built rather than quick, but for what reads and writes the pages' WASM.
build_tool() { # crate version [option…]
  local crate="$1" version="$2" package quick=(); shift 2
  for package in walrus wasmparser wasm-encoder wasm-bindgen-cli-support gimli rustc-demangle id-arena; do
    quick+=(--config "profile.release.package.$package.opt-level=2")
  done
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_TARGET_DIR="$CACHE/tools-target" \
    "$cargo" "${quick[@]}" install "$crate" --version "$version" --root "$TOOLS" "$@" >"$CACHE/$crate.log" 2>&1 ||
    die "$crate $version did not build; see $CACHE/$crate.log"
}
if [ "$(cargo-leptos --version 2>/dev/null | awk '{print $2}')" != "$CARGO_LEPTOS_VERSION" ]; then
  say "building cargo-leptos $CARGO_LEPTOS_VERSION (about ten minutes on two cores, once)"
  build_tool cargo-leptos "$CARGO_LEPTOS_VERSION" --locked --features no_downloads
fi
if [ "$(wasm-bindgen --version 2>/dev/null | awk '{print $2}')" != "$BINDGEN_VERSION" ]; then
  say "building wasm-bindgen $BINDGEN_VERSION (about four minutes, once)"
  # Not --locked: it may name a version that a mirror of the registry does not have yet.
  build_tool wasm-bindgen-cli "$BINDGEN_VERSION"
fi
for tool in cargo-leptos wasm-bindgen; do [ -x "$TOOLS/bin/$tool" ] || ln -sf "$(command -v "$tool")" "$TOOLS/bin/$tool"; done
rm -rf "$CACHE/tools-target"

# --- what holds the API against its document ---

if [ ! -x "$SCHEMATHESIS/bin/st" ]; then
  say "installing schemathesis $SCHEMATHESIS_VERSION"
  rm -rf "$SCHEMATHESIS"
  { python3 -m venv "$SCHEMATHESIS" && "$SCHEMATHESIS/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$SCHEMATHESIS_VERSION"; } \
    >"$CACHE/schemathesis.log" 2>&1 || die "schemathesis $SCHEMATHESIS_VERSION could not be installed; see $CACHE/schemathesis.log"
fi

{
  printf '%s\n' "$STAMP"
  printf 'export RUSTC=%q CARGO=%q RUSTFMT=%q PG_BIN=%q\n' "$compiler" "$cargo" "$formatter" "$(pg_bin)"
  # shellcheck disable=SC2016 # PATH and HOME are those of the one who sources it.
  printf 'export PATH=%q:%q:"$PATH":/usr/sbin:/sbin\nexport CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/pinacle/target}"\n' "$TOOLS/bin" "$compiler_folder"
} >"$CACHE/toolchain.env.new"
mv "$CACHE/toolchain.env.new" "$CACHE/toolchain.env"
exec 9>&-
"$ROOT/dev/vendor.sh"
say "everything is there"
