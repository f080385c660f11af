#!/usr/bin/env bash
# PID 1 of a local pod host: what a machine's boot would do. Runs in network, mount, PID, IPC and UTS namespaces of its own,
# started by hosts.sh. Ending it ends everything on the host, as a crash would.
# Usage: host-init.sh HOST_FOLDER NAME ADDRESS PREFIX IMAGE BIN_FOLDER
set -euo pipefail
FOLDER="$1" NAME="$2" ADDRESS="$3" PREFIX="$4" IMAGE="$5" BIN="$6"
GITHUB_NAME=github.pinacle.test
INTERNET_ADDRESS=198.51.100.10
RESTART_AFTER=1 # second, as systemd's Restart=always would wait

hostname "$NAME"
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
runsc="$(command -v runsc)"

# /sys shows this host's own network; the control groups stay the kernel's one tree (the host's carry its prefix).
mkdir -p /mnt
mount -t tmpfs -o mode=0755 tmpfs /mnt
mkdir /mnt/cgroup /mnt/bin /mnt/etc /mnt/work /mnt/state /mnt/conf /mnt/image
mount --rbind /sys/fs/cgroup /mnt/cgroup
mount --bind "$BIN" /mnt/bin
mount --bind "$FOLDER/state" /mnt/state
mount --bind "$FOLDER/etc" /mnt/conf
mount --bind -o ro "$IMAGE" /mnt/image
# Wherever it lies on this machine: some of its folders are hidden on the host.
touch /mnt/runsc
mount --bind "$runsc" /mnt/runsc
mount -t sysfs sysfs /sys
mount --rbind /mnt/cgroup /sys/fs/cgroup

# /etc is this machine's with changes of the host's own: its user, its host key, its name.
mount -t overlay -o lowerdir=/etc,upperdir=/mnt/etc,workdir=/mnt/work overlay /etc
grep -q '^pinacle:' /etc/group || printf 'pinacle:x:899:\n' >>/etc/group
grep -q '^pinacle:' /etc/passwd || printf 'pinacle:x:899:899:Pinacle:/:/bin/sh\n' >>/etc/passwd
grep -q '^pinacle:' /etc/shadow || printf 'pinacle:*:19000:0:99999:7:::\n' >>/etc/shadow
printf '%s\n' "$NAME" >/etc/hostname
printf '127.0.0.1 localhost\n%s %s\n%s %s\n' "$ADDRESS" "$NAME" "$INTERNET_ADDRESS" "$GITHUB_NAME" >/etc/hosts
rm -f /etc/ssh/ssh_host_*
cp "$FOLDER"/ssh/ssh_host_* /etc/ssh/
chmod 0600 /etc/ssh/ssh_host_*_key
mkdir -p /etc/pinacle
mount --bind /mnt/conf /etc/pinacle

for folder in /run /tmp /var/lib /usr/local/bin; do mount -t tmpfs -o mode=0755 tmpfs "$folder"; done
chmod 1777 /tmp
mkdir -p /run/sshd /run/lock /run/netns /var/lib/pinacle /var/lib/pinacle-image
mount --bind /mnt/state /var/lib/pinacle
mount --bind /mnt/image /var/lib/pinacle-image
cp /mnt/bin/pinacle-host /mnt/bin/pinacle-init /usr/local/bin/
touch /usr/local/bin/runsc
mount --bind /mnt/runsc /usr/local/bin/runsc
umount /mnt/bin

cat >/etc/ssh/pinacle_sshd_config <<SSHD
ListenAddress $ADDRESS
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/pinacle/authorized_keys
AllowUsers pinacle
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UsePAM no
X11Forwarding no
AllowTcpForwarding no
AllowAgentForwarding no
PermitUserRC no
MaxSessions 512
MaxStartups 100:30:300
ClientAliveInterval 15
ClientAliveCountMax 4
PidFile none
SSHD

# keep NAME COMMAND…: runs it, and again when it ends.
keep() {
  local name="$1"; shift
  while true; do
    "$@" 2>&1 | sed -u "s/^/$name: /" || true
    printf '%s: ended, starting it again\n' "$name"
    sleep "$RESTART_AFTER"
  done
}

keep sshd /usr/sbin/sshd -D -e -f /etc/ssh/pinacle_sshd_config &
# The pods' resolver: answers what this "internet" has, and never with a private address.
keep dnsmasq dnsmasq --keep-in-foreground --log-facility=- --conf-file=/dev/null --pid-file= --no-resolv --no-hosts --no-dhcp-interface=* \
  --bind-dynamic --except-interface=eth0 --stop-dns-rebind --bogus-priv --address="/$GITHUB_NAME/$INTERNET_ADDRESS" --local=// &
# ptrace: many pods idle on few cores here.
keep pinacle-host pinacle-host serve --state-dir /var/lib/pinacle --run-dir /run/pinacle --prefix "$PREFIX" \
  --runsc /usr/local/bin/runsc --platform ptrace --image /var/lib/pinacle-image --init /usr/local/bin/pinacle-init &

trap 'exit 0' TERM INT
# Whatever loses its parent on this host is reaped here.
while true; do wait -n || sleep 0.2; done
