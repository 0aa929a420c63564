#!/bin/sh
# Joins a VLAN of the vswitchd on this host to a VXLAN segment: a bridge of the
# kernel's holds a VXLAN device and the link of a port of the switch. Root only.
#
#     join.sh VNI VLAN LOCAL          other hosts and their stations come by BGP
#     join.sh VNI VLAN LOCAL REMOTE   one other host, no routing daemon
#
# LOCAL and REMOTE are addresses of the underlay. README.md has the rest.
set -eu
if [ $# -lt 3 ] || [ $# -gt 4 ]; then
  echo "usage: $0 VNI VLAN LOCAL [REMOTE]" >&2
  exit 2
fi
vni=$1 vlan=$2 local=$3 remote=${4:-}
bridge=br$vni vxlan=vx$vni port=vni$vni

ip link add "$bridge" type bridge stp_state 0 forward_delay 0
if [ -n "$remote" ]; then
  ip link add "$vxlan" type vxlan id "$vni" local "$local" remote "$remote" dstport 4789
  ip link set "$vxlan" master "$bridge"
else
  # Where stations of other hosts are is zebra's to say. Learned from frames as
  # well, a moved one would be found in two places.
  ip link add "$vxlan" type vxlan id "$vni" local "$local" dstport 4789 nolearning
  ip link set "$vxlan" master "$bridge"
  bridge link set dev "$vxlan" learning off
fi
# Persistent, so that it stays in the bridge when the switch is restarted.
vswitchctl port add "$port" --may-exist --access "$vlan" --persistent --owner root
ip link set "$port" master "$bridge"
for link in "$bridge" "$vxlan" "$port"; do
  # No IPv6 of the host's on the segment.
  [ ! -e /proc/sys/net/ipv6 ] || ip link set "$link" addrgenmode none
  ip link set "$link" up
done
