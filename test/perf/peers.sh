#!/bin/sh
# Fetches the switches that `make perf` measures beside vswitchd into a cache:
# Open vSwitch and VDE as Debian's packages, unpacked and not installed, and
# gvisor-tap-vsock built by Go. Needs no root; DIR as argument instead of the cache.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/vswitchd/peers}
mkdir -p "$dir/bin"

libraries() { # of packages, but for those that every system has
	apt-cache depends --no-recommends --no-suggests "$@" |
		sed -n 's/^ *Depends: \(lib[^<>]*\)$/\1/p' | sort -u | grep -vE '^(libc6|libgcc-s1|libstdc.*)$' || true
}

if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
	packages="openvswitch-common openvswitch-switch vde-switch"
	needed=$(libraries $packages)
	needed="$needed $(libraries $needed)"
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	(cd "$work" && apt-get download -q $packages $(echo $needed | tr ' ' '\n' | sort -u))
	for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$dir"; done
else
	echo "no Debian packages here: install Open vSwitch and VDE as this system does" >&2
fi
(cd "$here/gvisor" && CGO_ENABLED=0 go build -trimpath -o "$dir/bin/gvisor-switch" .)
echo "in $dir: $(cd "$dir" && ls bin/gvisor-switch usr/bin/vde_switch usr/sbin/ovsdb-server usr/lib/openvswitch-switch/ovs-vswitchd 2>/dev/null | tr '\n' ' ')"
