#!/bin/sh
# Runs the demo and the tests as an ordinary user (uid 65534) who may open
# /dev/net/tun, as most distributions have it. Root only: the device is made in
# a mount namespace of its own, so that the machine's stays as it is.
# cmd/vswitchd is left out: its tests run go, whose caches the user cannot read.
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
  go build -o "$dir" ./cmd/...
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
$as_user ./vswitchctl demo
for t in */*.test */*/*.test; do
  echo "as an ordinary user: $t"
  (cd "$(dirname "$t")" && $as_user "./$(basename "$t")")
done
