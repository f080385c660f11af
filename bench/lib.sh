# What benches share. To be sourced, with STACK and STACK_NUMBER set.
# What is measured is what is released, unless PINACLE_BUILD=debug; BUILT=1 takes what was built last.
export PINACLE_BUILD="${PINACLE_BUILD:-release}"
. "$(dirname "${BASH_SOURCE[0]}")/../dev/lib.sh"

# What a bench with a host leaves behind; one that starts more ends it, too.
end() {
  "$ROOT/dev/stack.sh" wipe
  rm -rf "$work"
}

# A stack of one host that has joined, and a folder in which the owner's token is; both are gone at the end.
with_host() {
  work="$(mktemp -d)"
  trap end EXIT
  "$ROOT/dev/stack.sh" up 1 off
  "$ROOT/dev/stack.sh" serve
  "$ROOT/dev/join.sh" 1
  (umask 077 && "$ROOT/dev/token.sh" owner >"$work/token")
}

# plain_sshd ADDRESS PORT HOST_KEY AUTHORIZED_KEYS HOME: the configuration of a peer, which runs what it is asked for at HOME.
plain_sshd() {
  cat <<SSHD
ListenAddress $1:$2
HostKey $3
AuthorizedKeysFile $4
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
# What the user's own shell does first (~/.bashrc) is no part of the peer.
SetEnv HOME=$5
PidFile none
SSHD
}
