#!/usr/bin/env bash
# Makes the pods' base image with mmdebstrap, once: $CACHE/image/VERSION.tar.zst, and unpacked VERSION/rootfs, which it prints.
set -euo pipefail
# shellcheck disable=SC2034 # What messages begin with.
STACK=image
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VERSION=base-2026.12
PACKAGES=bash,bash-completion,build-essential,ca-certificates,coreutils,curl,dnsutils,file,git,iproute2,iputils-ping,jq,less,libcap2-bin
PACKAGES+=,locales,make,ncurses-term,netcat-openbsd,nodejs,npm,openssh-client,openssh-sftp-server,pkg-config,procps,psmisc,python3,python3-pip,python3-venv
PACKAGES+=,rsync,sudo,tmux,tzdata,unzip,vim,wget,xz-utils,zip

IMAGE="$CACHE/image/$VERSION"
mkdir -p "$CACHE/image"
exec 8>"$CACHE/image/lock"
flock 8
if [ ! -f "$IMAGE/complete" ]; then
  [ "$(id -u)" = 0 ] || die "the pods' image needs root to be made: run this once with sudo"
  has mmdebstrap || die "mmdebstrap is missing: apt-get install mmdebstrap"
  rm -rf "$IMAGE"
  mkdir -p "$IMAGE"
  if [ ! -f "$CACHE/image/$VERSION.tar.zst" ]; then
    say "making the pods' base image (about two minutes, once)"
    # shellcheck disable=SC2016 # $1 is the hooks' own: the folder of the image.
    mmdebstrap --variant=minbase --include="$PACKAGES" --quiet \
      --aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/man/*' \
      --customize-hook='chroot "$1" useradd --create-home --uid 1000 --shell /bin/bash dev' \
      --customize-hook='printf "dev ALL=(ALL) NOPASSWD:ALL\n" >"$1/etc/sudoers.d/dev"; chmod 0440 "$1/etc/sudoers.d/dev"' \
      --customize-hook='mkdir -p "$1/run/pinacle" "$1/etc/profile.d"; printf "export LANG=C.UTF-8\n" >"$1/etc/profile.d/lang.sh"' \
      --customize-hook='printf "LANG=C.UTF-8\n" >"$1/etc/default/locale"; rm -f "$1/etc/resolv.conf" "$1/etc/hostname"; touch "$1/etc/resolv.conf" "$1/etc/hostname"' \
      --customize-hook='printf "update-notifier=false\nfund=false\naudit=false\n" >"$1/etc/npmrc"' \
      bookworm "$CACHE/image/$VERSION.new.tar" >"$CACHE/image.log" 2>&1 || die "mmdebstrap failed; see $CACHE/image.log"
    zstd -q -f -T0 -3 --rm "$CACHE/image/$VERSION.new.tar" -o "$CACHE/image/$VERSION.new.zst"
    mv "$CACHE/image/$VERSION.new.zst" "$CACHE/image/$VERSION.tar.zst"
  fi
  mkdir -p "$IMAGE/rootfs"
  zstd -q -d -c "$CACHE/image/$VERSION.tar.zst" | tar -x --numeric-owner --xattrs --xattrs-include='*' -C "$IMAGE/rootfs"
  touch "$IMAGE/complete"
fi
# What hosts call it in their inventory.
[ -s "$IMAGE/rootfs/etc/pinacle-image" ] || printf '%s\n' "${VERSION/-/ }" >"$IMAGE/rootfs/etc/pinacle-image"
printf '%s\n' "$IMAGE/rootfs"
