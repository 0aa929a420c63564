#!/bin/sh
# Runs the demo and the tests as an ordinary user (uid 65534) who may open
# /dev/net/tun, as most distributions have it. Root only: the device is made in
# a mount namespace of its own, so that the machine's stays as it is.
# cmd/vswitchd is left out: its tests run go, whose caches the user cannot read.
# The daemon is run instead: as root of a user namespace, and as the unit does.
set -eu
if [ "$(id -u)" != 0 ]; then
  echo "$0: needs root, to become another user and to make a device; try: sudo $0" >&2
  exit 1
fi
if [ "${1:-}" != inside ]; then
  cd "$(dirname "$0")/.."
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
  git ls-files -z | tar -c --null -T - | tar -x -C "$dir"
  CGO_ENABLED=0 go build -o "$dir" ./cmd/...
  for p in port switch control cmd/vswitchctl internal/lab internal/nettest test; do
    go test -c -o "$dir/$p/$(basename "$p").test" "./$p"
  done
  chmod -R a+rX "$dir"
  unshare -m test/as-user.sh inside "$dir"
  exit
fi
mount -t tmpfs -o mode=0755 none /dev/net
mknod -m 0666 /dev/net/tun c 10 200
as_user="setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/ VSWITCH_REQUIRE_NETNS=1 VSWITCH_BIN=$2"
cd "$2"
kernel=${VM_KERNEL:-${XDG_CACHE_HOME:-$HOME/.cache}/vswitchd/linux}
if [ -d "$kernel" ]; then
  mkdir linux # The user may not get to where it is.
  mount --bind "$kernel" linux
  export VSWITCH_VM_KERNEL="$2/linux"
fi
$as_user ./vswitchctl demo

lab="$as_user XDG_RUNTIME_DIR= ./vswitchctl lab"
printf 'switch: {vlan_aware: false}\nhosts:\n- {name: web, ip: [10.0.0.1/24]}\n- {name: far, impair: {loss: 1%%}}\n' >lab.yaml
$lab up lab.yaml &
tries=0
until $lab show 2>/dev/null; do
  [ $((tries += 1)) -lt 300 ] || exit 1
  sleep 0.1
done
$lab exec web sh -c 'ip -br address show eth0 && ./vswitchctl port list'
$lab down
wait $!

# daemon MASK COMMAND... has COMMAND start a daemon beside a process in another
# network namespace, and expects it to keep the capabilities of MASK and to move a
# link to that process.
daemon() {
  want=$1
  shift
  run=$(mktemp -d)
  chown 65534 "$run"
  echo "a daemon, by $*"
  # shellcheck disable=SC2016 # The inner shell expands it.
  RUN=$run "$@" sh -c '
    unshare -n sh -c "echo \$\$ >$RUN/station; exec sleep 1000" &
    exec ./vswitchd --vlan-aware=true --socket "$RUN/s" --metrics-listen none' &
  tries=0
  until [ -s "$run/station" ] && ./vswitchctl --socket "$run/s" status >/dev/null 2>&1; do
    [ $((tries += 1)) -lt 300 ] || break
    sleep 0.1
  done
  ok=yes
  for set in CapPrm CapEff CapBnd; do
    [ "$(awk -v set="$set:" '$1 == set { print $2 }' /proc/$!/task/*/status | uniq)" = "$want" ] || ok="$set is not $want"
  done
  ./vswitchctl --socket "$run/s" port add web --container "$(cat "$run/station")" --ifname eth0 --ip 10.0.0.1/24 --access 10 || ok="port add failed"
  nsenter --net="/proc/$(cat "$run/station")/ns/net" ip -br address show eth0 || ok="there is no eth0"
  kill $! "$(cat "$run/station")"
  wait $! || ok="exit code $?"
  rm -rf "$run"
  [ "$ok" = yes ] || { echo "$0: $ok" >&2; exit 1; }
}
caps=-all,+net_admin,+net_broadcast,+sys_admin,+sys_nice
daemon 0000000000a01803 $as_user unshare -rn
daemon 0000000000a01800 unshare -n setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set $caps --inh-caps $caps --ambient-caps $caps

for t in */*.test */*/*.test; do
  echo "as an ordinary user: $t"
  (cd "$(dirname "$t")" && $as_user "./$(basename "$t")")
done
