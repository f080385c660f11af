#!/bin/bash
# Runs inside a pod host: gVisor alone, of the same image and platform. One round: create, start, first output of an exec.
# Prints milliseconds. Usage: bare.sh ROUND
set -euo pipefail
runsc=/usr/local/bin/runsc id="bench-bare-$1" bundle="/run/bench-bare"
mkdir -p "$bundle"
[ -f "$bundle/config.json" ] || cat >"$bundle/config.json" <<JSON
{"ociVersion":"1.0.2","hostname":"bare","root":{"path":"/var/lib/pinacle-image","readonly":true},
 "process":{"user":{"uid":0,"gid":0},"args":["/bin/sleep","infinity"],"env":["PATH=/usr/bin:/bin"],"cwd":"/"},
 "mounts":[{"destination":"/proc","type":"proc"},{"destination":"/tmp","type":"tmpfs"}],
 "linux":{"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"ipc"},{"type":"uts"}]}}
JSON
flags=(--root /run/bench-bare/root --platform=ptrace --network=none --ignore-cgroups --overlay2=none --directfs=false)
began="$(date +%s%N)"
"$runsc" "${flags[@]}" create --bundle "$bundle" "$id" </dev/null >/dev/null
"$runsc" "${flags[@]}" start "$id"
"$runsc" "${flags[@]}" exec "$id" /bin/echo ready >/dev/null
ended="$(date +%s%N)"
"$runsc" "${flags[@]}" delete --force "$id"
echo "$(((ended - began) / 10000))" | sed 's/..$/.&/'
