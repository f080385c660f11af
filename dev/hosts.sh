#!/usr/bin/env bash
# Local pod hosts: each a "second machine" with namespaces, control groups, an sshd and a pinacle-host of its own.
# Usage: hosts.sh check | up N | anew N | down | crash I | boot I | run I COMMAND… | sweep
#   check: says in one sentence what stands in the way of pod hosts on this machine, and ends with 1
#   anew:  as up, with hosts that nobody has joined yet
#   crash: ends host I at once with everything on it, as a power cut would; boot starts it again
#   run:   runs a command on host I, as its root
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

host_dir() { printf '%s/hosts/h%d' "$DATA" "$1"; }
host_ns() { printf '%s-h%d' "$PREFIX" "$1"; }

check() {
  [ "$(uname -s)" = Linux ] || die "pod hosts need Linux: run this in a Linux machine or a virtual one, or point the server at a real host (docs/operating.md)"
  [ "$(id -u)" = 0 ] || die "pod hosts need root for their namespaces and mounts: run 'sudo -E make run', or point the server at a real host (docs/operating.md)"
  has runsc || die "gVisor's runsc is missing: install it ('apt-get install runsc', or gvisor.dev/docs/user_guide/install) and run this again"
  unshare --mount --pid --fork true 2>/dev/null || die "this kernel or container allows no new namespaces: run on a machine (or a privileged container) that does"
  grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || die "this kernel has no overlayfs: load the module 'overlay'"
  [ -e /dev/loop-control ] || modprobe loop 2>/dev/null || die "this kernel has no loop devices: load the module 'loop'"
}

up() {
  local number count="$1"
  local image; image="$("$ROOT/dev/image.sh")"
  for number in $(seq 1 "$count"); do boot "$number" "$image"; done
}

boot() {
  local number="$1" image="${2:-}" folder namespace name address
  folder="$(host_dir "$number")" namespace="$(host_ns "$number")" name="host$number" address="$(host_address "$number")"
  [ -n "$image" ] || image="$("$ROOT/dev/image.sh")"
  ! is_alive "$folder/init.pid" || return 0
  mkdir -p "$folder"/{state,etc,ssh}
  chmod 0755 "$folder/etc"
  [ -f "$folder/ssh/ssh_host_ed25519_key" ] || ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$folder/ssh/ssh_host_ed25519_key"
  [ -f "$folder/etc/authorized_keys" ] || install -m 0644 /dev/null "$folder/etc/authorized_keys"

  ip netns add "$namespace"
  # The kernel takes the links of a host that has just gone in its own time.
  ip -n "$NET_NS" link delete "host$number" 2>/dev/null || true
  ip -n "$namespace" link add eth0 type veth peer name "host$number" netns "$NET_NS"
  ip -n "$NET_NS" addr add "$(host_gateway "$number")/30" dev "host$number"
  ip -n "$NET_NS" link set "host$number" up
  ip -n "$namespace" link set lo up
  ip -n "$namespace" addr add "$address/30" dev eth0
  ip -n "$namespace" link set eth0 up
  ip -n "$namespace" route add default via "$(host_gateway "$number")"
  nsenter --net="/run/netns/$namespace" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'

  # --kill-child: when this process is ended, so is the host.
  nsenter --net="/run/netns/$namespace" unshare --mount --uts --ipc --pid --fork --kill-child --mount-proc \
    "$ROOT/dev/host-init.sh" "$folder" "$name" "$address" "$namespace" "$image" "$BIN" >>"$folder/host.log" 2>&1 </dev/null &
  local outside=$! inside=
  wait_for 10 "$name" pgrep -P "$outside"
  inside="$(pgrep -P "$outside")"
  remember_process "$folder/init.pid" "$inside"
  wait_for 15 "sshd of $name" bash -c "exec 3<>/dev/tcp/$address/22" || { tail -5 "$folder/host.log" >&2; return 1; }
}

anew() {
  down
  rm -rf "$DATA/hosts"
  up "$1"
}

numbers() { find "$DATA/hosts" -mindepth 1 -maxdepth 1 -name 'h*' 2>/dev/null | sed 's/.*h//' | sort -n; }

down() {
  local number
  for number in $(numbers); do end_process "$(host_dir "$number")/init.pid" 5; done
  sweep
}

crash() {
  local pid rest
  read -r pid rest <"$(host_dir "$1")/init.pid" || die "host $1 is not up"
  kill -KILL "$pid"
  rm -f "$(host_dir "$1")/init.pid"
  sweep_host "$(host_ns "$1")"
}

run() {
  local pid rest number="$1"; shift
  read -r pid rest <"$(host_dir "$number")/init.pid" || die "host $number is not up"
  exec nsenter -t "$pid" --mount --uts --ipc --net --pid -- "$@"
}

# Scratch that a host's end leaves in the kernel: its namespace and its control groups.
sweep_host() { # namespace
  local namespace="$1" try
  for try in $(seq 1 25); do
    ip netns pids "$namespace" 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true
    [ -n "$(ip netns pids "$namespace" 2>/dev/null)" ] || break
    sleep 0.2
  done
  [ "$try" -lt 25 ] || say "processes of $namespace do not end"
  ip netns delete "$namespace" 2>/dev/null || true
  find /sys/fs/cgroup -depth -type d -path "*/$namespace*" -exec rmdir {} + 2>/dev/null || true
}

sweep() {
  local namespace
  for namespace in $(ip netns list 2>/dev/null | awk '{print $1}' | grep "^$PREFIX-h[0-9]*$" || true); do sweep_host "$namespace"; done
  rm -f "$DATA"/hosts/h*/init.pid
}

verb="${1:-}"
case "$verb" in
  check | up | anew | down | crash | boot | run | sweep) shift; "$verb" "$@" ;;
  *) die "usage: hosts.sh check | up N | anew N | down | crash I | boot I | run I COMMAND… | sweep" ;;
esac
