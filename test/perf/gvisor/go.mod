// A module of its own: only the benchmark of a peer needs this dependency.
module github.com/vswitchd/vswitchd/test/perf/gvisor

go 1.26.0

require (
	github.com/containers/gvisor-tap-vsock v0.8.9
	golang.org/x/sys v0.43.0
	gvisor.dev/gvisor v0.0.0-20240916094835-a174eb65023f
)

require (
	github.com/apparentlymart/go-cidr v1.1.1 // indirect
	github.com/google/btree v1.1.2 // indirect
	github.com/google/gopacket v1.1.19 // indirect
	github.com/sirupsen/logrus v1.9.4 // indirect
	golang.org/x/time v0.5.0 // indirect
)
