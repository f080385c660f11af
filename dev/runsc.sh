#!/usr/bin/env bash
# Makes sure that the pod hosts have a gVisor that is young enough; a no-op when there is one. Its folder is $CACHE/tools/bin.
# Debian 12's own release (2022) answers statx with AT_NO_AUTOMOUNT by EINVAL: `ls -l` and `stat` fail in every pod.
set -euo pipefail
# shellcheck disable=SC2034 # What messages begin with.
STACK=setup
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

YOUNG_ENOUGH=20230601
TOOLS="$CACHE/tools"
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
export PATH="$TOOLS/bin:$PATH"

is_young() { # program
  local day
  day="$("$1" --version 2>/dev/null | grep -oE '[0-9]{8}' | head -1)"
  [ "${day:-0}" -ge "$YOUNG_ENOUGH" ]
}

! is_young runsc || exit 0
codename="$(. /etc/os-release 2>/dev/null && printf '%s' "${VERSION_CODENAME:-}")"
if ! has apt-get || [ ! -f "$KEYRING" ] || [ "$codename" != bookworm ]; then
  has runsc || die "gVisor's runsc is missing: install it (gvisor.dev/docs/user_guide/install) and run this again"
  say "this runsc is older than $YOUNG_ENOUGH: some programs will fail in pods (gvisor.dev/docs/user_guide/install has newer ones)"
  exit 0
fi

# Package lists of its own: the machine's sources stay as they are.
say "getting gVisor from $codename-backports"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/package" "$TOOLS/bin"
printf 'Types: deb\nURIs: http://deb.debian.org/debian\nSuites: %s-backports\nComponents: main\nSigned-By: %s\n' "$codename" "$KEYRING" >"$work/backports.sources"
options=(-qq -o "Dir::Etc::sourcelist=$work/backports.sources" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
  -o APT::Sandbox::User="$(id -un)")
if (cd "$work" && apt-get "${options[@]}" update && apt-get "${options[@]}" download runsc) >"$CACHE/runsc.log" 2>&1; then
  dpkg -x "$work"/runsc_*.deb "$work/package"
  install -m 0755 "$work/package/usr/bin/runsc" "$TOOLS/bin/runsc"
else
  has runsc || die "gVisor could not be had from backports (see $CACHE/runsc.log): install runsc and run this again"
  say "gVisor could not be had from backports (see $CACHE/runsc.log); going on with $(command -v runsc), in which some programs fail"
fi
