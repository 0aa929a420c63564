// A module of its own: only this test needs gVisor.
module github.com/vswitchd/vswitchd/test/netstack

go 1.26.0

require (
	github.com/vswitchd/vswitchd v0.0.0
	gvisor.dev/gvisor v0.0.0-20240916094835-a174eb65023f
)

require (
	github.com/goccy/go-yaml v1.19.2 // indirect
	github.com/google/btree v1.1.2 // indirect
	github.com/vishvananda/netlink v1.3.1 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/time v0.15.0 // indirect
)

replace github.com/vswitchd/vswitchd => ../..
