GO      ?= go
BIN     := bin
LINT    := $(BIN)/golangci-lint
NFPM    := $(BIN)/nfpm
SHARE    = $(DESTDIR)/usr/share
DOC      = $(SHARE)/doc/vswitchd
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/vswitchd/vswitchd/internal/version.version=$(VERSION)
# 1.2.3, 1.2.3~rc1, five commits later 1.2.3+5.gCOMMIT; before any release 0~DATE.gCOMMIT.
DEBVERSION = $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//; s/-rc/~rc/; s/-\([0-9]*\)-g/+\1.g/' | grep . || \
	TZ=UTC0 git show -s --format=0~%cd.g%h --date=format-local:%Y%m%d%H%M%S)
export SOURCE_DATE_EPOCH ?= $(shell git show -s --format=%ct 2>/dev/null)
FUZZTIME ?= 20s
SOAK    ?= -soak.cycles 10000 -soak.kills 500 -soak.errnos 9 -soak.pause 30s
ACCEPT  ?= ../shared/accept
FRR     ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vswitchd/frr
CHROMIUM ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vswitchd/chromium
VM_KERNEL ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vswitchd/linux

.DEFAULT_GOAL := help
.PHONY: help build demo test vm vm-kernel vm-matrix fabric netstack page check race soak fuzz bench benchcmp perf lint install deb accept clean go

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

go:
	@command -v $(GO) >/dev/null || { echo "Go is not installed. Get Go 1.26 or newer from https://go.dev/dl/ and put its bin directory on your PATH." >&2; exit 1; }
	@have=$$($(GO) env GOVERSION 2>/dev/null); case "$$have" in \
	  go1.2[6-9]*|go1.[3-9][0-9]*|go[2-9]*|devel*) ;; \
	  *) have=$$(cd / && GOTOOLCHAIN=local $(GO) env GOVERSION 2>/dev/null || (cd / && $(GO) version)); \
	     echo "$$have is too old: vswitchd needs Go 1.26 or newer, from https://go.dev/dl/." >&2; \
	     echo "Go 1.21 or newer fetches it by itself where it may: make GOTOOLCHAIN=auto" >&2; exit 1;; \
	esac

build: go ## vswitchd and vswitchctl, static, into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

demo: build ## hosts in namespaces, and a VM if there is QEMU, talk through a switch; nothing stays behind
	@VSWITCH_VM_KERNEL=$(abspath $(VM_KERNEL)) $(BIN)/vswitchctl demo

test: go ## all tests that need Go and nothing else
	@$(GO) run ./internal/netns/check
	$(GO) test ./...

vm: go vm-kernel ## virtual machines talk through a switch (needs qemu-system-x86; gets Debian's kernel once, into VM_KERNEL)
	VSWITCH_REQUIRE_VM=1 VSWITCH_VM_KERNEL=$(abspath $(VM_KERNEL)) $(GO) test -count=1 ./test/vm

vm-kernel: ## get Debian's kernel for virtual machines, once, into VM_KERNEL
	test/vm/kernel.sh $(VM_KERNEL)

netstack: go ## gVisor's TCP/IP stack talks to the kernel's through a switch (gets gVisor)
	$(GO) test -C test/netstack -count=1 -v ./...

vm-matrix: go vm-kernel ## each kind of port of a virtual machine with each other, in some minutes; for the night
	VSWITCH_REQUIRE_VM=1 VSWITCH_VM_MATRIX=1 VSWITCH_VM_KERNEL=$(abspath $(VM_KERNEL)) $(GO) test -count=1 -v -run TestMatrix ./test/vm

fabric: go ## two hosts joined by VXLAN and BGP EVPN (root; gets Debian's FRR once, into FRR)
	test/frr.sh $(FRR)
	VSWITCH_FRR=$(abspath $(FRR)) $(GO) test -count=1 -run 'TestVLANSpansTwoHosts|TestFabric' ./test

page: go ## the page in a real browser (gets Debian's Chromium once, into CHROMIUM)
	test/chromium.sh $(CHROMIUM)
	VSWITCH_CHROMIUM=$(abspath $(CHROMIUM)) $(GO) test -count=1 -v -run Chromium ./internal/page

race: go ## the tests under the race detector, and race-built binaries into bin/race (needs a C compiler)
	$(GO) test -race ./...
	$(GO) build -race -o $(BIN)/race/ ./cmd/...

soak: go ## what may happen to a daemon in years, in some 20 minutes; figures in lines with "soak:"
	$(GO) test -count 1 -timeout 40m -v -run TestSoak ./test $(SOAK)

fuzz: go ## each fuzz target for FUZZTIME
	@for t in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | sort); do \
	  for f in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9]+).*/\1/p' $$t); do \
	    echo "== $$f in $$(dirname $$t)"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$t) || exit 1; \
	  done; done

bench: go ## parse, decide, lookup, learn and relay, in ns per frame
	$(GO) test -run '^$$' -bench . -benchmem -count $(or $(COUNT),1) ./frame ./fdb ./switch

benchcmp: go ## these figures against those of the commit BASE, by benchstat; BENCH selects
	@[ -n "$(BASE)" ] || { echo "Name the commit to compare with: make benchcmp BASE=HEAD~1" >&2; exit 1; }
	@COUNT=$(COUNT) BENCH='$(BENCH)' test/benchcmp.sh $(BASE)

perf: build ## TCP, frames, datagrams and latency beside the kernel bridge and other switches; PERF=quick: a look in 3 minutes
	$(GO) run ./test/perf $(if $(filter quick,$(PERF)),-quick,-idle -scale -docs docs) $(PERFFLAGS)

lint: $(LINT) ## golangci-lint, with the import boundaries
	$(LINT) run

$(LINT):
	GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

install: build ## into DESTDIR, for those who make packages: programs, manual, completion, unit, docs
	install -D -m 755 $(BIN)/vswitchd $(DESTDIR)/usr/sbin/vswitchd
	install -D -m 755 $(BIN)/vswitchctl $(DESTDIR)/usr/bin/vswitchctl
	install -D -m 755 $(BIN)/vswitch-cni $(DESTDIR)/usr/lib/cni/vswitch
	install -d $(DESTDIR)/usr/lib/netavark
	ln -sf ../cni/vswitch $(DESTDIR)/usr/lib/netavark/vswitch
	install -D -m 644 deploy/vswitchd.yaml $(DESTDIR)/etc/vswitchd/vswitchd.yaml
	install -D -m 644 deploy/systemd/vswitchd.service $(DESTDIR)/usr/lib/systemd/system/vswitchd.service
	install -D -m 644 deploy/systemd/vswitchd.sysusers $(DESTDIR)/usr/lib/sysusers.d/vswitchd.conf
	install -D -m 644 deploy/systemd/vswitchd.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/vswitchd.conf
	install -D -m 644 deploy/networkd/05-vswitchd.network $(DESTDIR)/usr/lib/systemd/network/05-vswitchd.network
	install -D -m 644 deploy/NetworkManager/90-vswitchd.conf $(DESTDIR)/usr/lib/NetworkManager/conf.d/90-vswitchd.conf
	install -D -m 644 -t $(DOC) README.md docs/*.md docs/*.png
	install -D -m 644 -t $(DOC)/examples/prometheus deploy/prometheus/scrape.yaml deploy/prometheus/alerts.yaml
	install -D -m 644 -t $(DOC)/examples/grafana deploy/grafana/vswitchd.json deploy/grafana/dashboards.yaml
	install -D -m 644 -t $(DOC)/examples/fabric deploy/fabric/README.md deploy/fabric/frr.conf
	install -D -m 755 -t $(DOC)/examples/fabric deploy/fabric/join.sh
	install -D -m 644 LICENSE $(DOC)/copyright
	gzip -9nc CHANGELOG.md >$(DOC)/changelog.gz
	GOARCH= $(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/host/ ./cmd/vswitchctl
	$(BIN)/host/vswitchctl man $(SHARE)/man/man1
	install -D -m 644 deploy/man/vswitchd.8 $(SHARE)/man/man8/vswitchd.8
	gzip -9nf $(SHARE)/man/man8/vswitchd.8 $(SHARE)/man/man1/vswitchctl*.1
	install -d $(SHARE)/bash-completion/completions $(SHARE)/zsh/vendor-completions $(SHARE)/fish/vendor_completions.d
	$(BIN)/host/vswitchctl completion bash >$(SHARE)/bash-completion/completions/vswitchctl
	$(BIN)/host/vswitchctl completion zsh >$(SHARE)/zsh/vendor-completions/_vswitchctl
	$(BIN)/host/vswitchctl completion fish >$(SHARE)/fish/vendor_completions.d/vswitchctl.fish

deb: go $(NFPM) ## a Debian package in bin/, for this architecture or that of GOARCH
	rm -rf $(BIN)/stage $(BIN)/vswitchd_*.deb
	$(MAKE) --no-print-directory install DESTDIR=$(BIN)/stage
	VERSION=$(DEBVERSION) ARCH=$$($(GO) env GOARCH) $(NFPM) package -f deploy/deb/nfpm.yaml -p deb -t $(BIN)/

$(BIN)/cnitool: # for test/container
	GOARCH= GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/containernetworking/cni/cnitool@v1.3.0

$(NFPM):
	GOARCH= GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2

check: build test race lint ## what a change must pass

accept: build ## a black-box acceptance suite in the folder ACCEPT (root)
	@[ -e $(ACCEPT)/run.py ] || { echo "There is no acceptance suite in $(ACCEPT); name its folder: make accept ACCEPT=DIR" >&2; exit 1; }
	python3 $(ACCEPT)/run.py --driver-file test/accept/driver.py

clean: ## what the build made
	rm -rf $(BIN)
