#!/usr/bin/env bash
# What lies outside the pod hosts, in one network namespace a stack: the "internet" (where the stand-in for GitHub answers)
# and, for real, what a pod must not reach: a metadata service and a machine of a private network.
# Usage: net.sh up | down | sweep
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

up() {
  ip netns add "$NET_NS"
  ip link add "${LINK}m" type veth peer name main netns "$NET_NS"
  ip addr add "$MAIN_ADDRESS/30" dev "${LINK}m"
  ip link set "${LINK}m" up
  ip -n "$NET_NS" addr add "$NET_ADDRESS/30" dev main
  ip -n "$NET_NS" link set main up
  ip -n "$NET_NS" link set lo up
  for address in "$INTERNET_ADDRESS" "$METADATA_ADDRESS" "$LAN_ADDRESS"; do ip -n "$NET_NS" addr add "$address/32" dev lo; done
  ip route replace "10.77.$STACK_NUMBER.0/24" via "$NET_ADDRESS"
  nsenter --net="/run/netns/$NET_NS" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
  # Hosts reach each other, as machines of one network do; of this machine they reach the stand-in alone.
  nsenter --net="/run/netns/$NET_NS" nft -f - <<NFT
table ip stack {
  chain names {
    type nat hook prerouting priority dstnat;
    iifname "host*" ip daddr $INTERNET_ADDRESS tcp dport 80 dnat to $MAIN_ADDRESS:$GITHUB_PORT
    iifname "host*" ip daddr $INTERNET_ADDRESS tcp dport 22 dnat to $MAIN_ADDRESS:$GITHUB_SSH_PORT
  }
  chain between {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "main" accept
    oifname "host*" accept
    ct status dnat accept
  }
}
NFT
  mkdir -p "$DATA"
  nsenter --net="/run/netns/$NET_NS" "$BIN/pinacle-dev-github" decoy --listen "$METADATA_ADDRESS:80" --listen "$LAN_ADDRESS:80" \
    --listen "$INTERNET_ADDRESS:80" \
    >>"$DATA/decoy.log" 2>&1 &
  remember_process "$DATA/decoy.pid" $!
}

down() {
  end_process "$DATA/decoy.pid" 2
  sweep
}

sweep() {
  [ -e "/run/netns/$NET_NS" ] || return 0
  ip netns pids "$NET_NS" | xargs -r kill -KILL 2>/dev/null || true
  # With its links go their other ends and the routes; the namespace itself goes when the kernel gets to it.
  ip link delete "${LINK}m" 2>/dev/null || true
  ip netns delete "$NET_NS"
}

case "${1:-}" in
  up | down | sweep) "$1" ;;
  *) die "usage: net.sh up | down | sweep" ;;
esac
