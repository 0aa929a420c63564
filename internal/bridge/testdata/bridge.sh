#!/bin/sh -e
# Makes the bridge that vlan.json was recorded from, in an empty network namespace
# of a kernel with bridge VLAN filtering (here: Debian's User-Mode Linux 6.1), as root:
#   unshare -n sh -ec 'sh testdata/bridge.sh; ./bridge.test -test.run Recorded -record vlan.json'
ip link add br0 type bridge vlan_filtering 1 ageing_time 12050 group_fwd_mask 0x4000 vlan_stats_enabled 1
ip link set br0 up address 02:00:00:00:00:10 mtu 9000
ip address add 192.0.2.1/24 dev br0
ip address add 198.51.100.7/24 dev br0 valid_lft 3600 preferred_lft 3600
bridge vlan add dev br0 vid 10-12 self
ip link add link br0 name br0.10 type vlan id 10
for tap in access trunk native long none; do
	ip tuntap add "$tap" mode tap user 1000 group 100
	ip link set "$tap" master br0 up
	bridge vlan del dev "$tap" vid 1
done
bridge vlan add dev access vid 10 pvid untagged
bridge vlan add dev trunk vid 10
bridge vlan add dev trunk vid 20-29
bridge vlan add dev native vid 5 pvid untagged
bridge vlan add dev native vid 2-40
bridge vlan add dev native vid 5 pvid untagged
bridge vlan add dev long vid 7 pvid
bridge vlan add dev long vid 8-9 untagged
ip link set access type bridge_slave isolated on learning off hairpin on guard on
ip link set trunk type bridge_slave flood off mcast_flood off bcast_flood off locked on group_fwd_mask 0xc
ip link set none down txqueuelen 500 mtu 1400
ip tuntap add ownerless mode tap
ip link set ownerless master br0
ip link add veth0 type veth peer name peer0
ip link set veth0 master br0 up
odd=$(printf 'a"#\377')
ip link add "$odd" type veth peer name peer1
ip link set "$odd" master br0
ip link add nic type dummy
ip link set nic master br0 up
ip link set nic type bridge_slave state 4
bridge fdb add 02:00:00:00:00:01 dev access master static vlan 10
bridge fdb add 02:00:00:00:00:02 dev trunk master static sticky vlan 20
bridge fdb add 02:00:00:00:00:03 dev veth0 master static vlan 1
bridge fdb add 02:00:00:00:00:04 dev br0 self local vlan 1
