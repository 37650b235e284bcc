# gtm: make run starts it, make test tries it, make help tells the rest.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GO       ?= go
# The toolchain of go.mod, also where the machine's Go is told to fetch no other.
export GOTOOLCHAIN ?= auto
# Programs and tests are compiled alike, so that each package is compiled once for both.
export GOFLAGS ?= -trimpath
DATA     ?= data
RUNFLAGS ?=
FUZZTIME ?= 20s
PAIRS    ?= $(if $(QUICK),6,11)
ONLY     ?=
QUICK    ?=
REF      ?=
BEFORE   ?=
LIMIT    ?= 1.25
SEED     ?= $(shell date +%s)
FOR      ?= 10m

# What the interop tests talk to, as Debian names it.
CLIENTS := bind9 bind9-dnsutils curl gdnsd iproute2 knot knot-dnssecutils knot-dnsutils ldnsutils nsd prometheus-alertmanager python3-certbot-dns-rfc2136 tor-geoipdb unbound

# What make bench measures gtm beside, and with.
PEERS := bind9 bind9-dnsutils dnsperf ethtool gcc gdnsd knot knot-module-geoip ldnsutils libc6-dev nsd openssl pdns-backend-geoip pdns-server tor-geoipdb util-linux

# The version of a build: the commit, and whether the tree differed from it.
VERSION := $(shell git describe --always --dirty --tags 2>/dev/null || echo unknown)

# Packages that start something which runs at once, in their code or in their tests, are tested under the race detector: in the others it
# can find nothing. cmd/gtmd was never among them: its tests run whole processes, and take long enough without.
RACY = grep -rlE '^\s*(defer )?go |\.Go\(|t\.Parallel\(|AfterFunc\(|httptest\.' --include='*.go' cmd pkg | xargs -n1 dirname | sort -u | grep -v '^cmd/gtmd'

# Of these, what is tested without the detector, too: the way of a query, as it is compiled for those who run it.
TWICE = pkg/serve|pkg/table

.PHONY: help
help: ## Tell what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make run DATA=DIR RUNFLAGS='--log json'   other data folder, further flags of gtmd"
	@echo "  DIFFERENTIAL_CASES=1000000 make interop    more and other cases against knotd and NSD (DIFFERENTIAL_SEED=N: one of them)"
	@echo "  INTEROP_SEED=2 make interop               other random questions to the other peers"
	@echo "  make chaos SEED=1 FOR=2m                  the seed that make interop takes; others, and for longer"
	@echo "  make fuzz FUZZTIME=5m                     longer; make bench PAIRS=31: more rounds"
	@echo "  make bench QUICK=1 ONLY=steered,static    a short look at some loads; make bench-scale, -latency, -streams, -xdp: each by itself"
	@echo "  make bench-compare REF=HEAD~5             micro benchmarks of the tree beside those of a commit"
	@echo "  make budget BEFORE=main LIMIT=1.1         hot paths beside those of another commit, with another bound"

.PHONY: build
build: ## Build bin/gtmd and bin/gtmctl
	@mkdir -p bin
	$(GO) build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/ ./cmd/gtmd ./cmd/gtmctl

PREFIX ?= /usr/local

.PHONY: install
install: build ## Install gtmd and gtmctl, pages of man(1) and completions below PREFIX (/usr/local)
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/bash-completion/completions' \
		'$(DESTDIR)$(PREFIX)/share/zsh/site-functions' '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d'
	install bin/gtmd bin/gtmctl '$(DESTDIR)$(PREFIX)/bin'
	bin/gtmctl manual '$(DESTDIR)$(PREFIX)/share/man/man1'
	bin/gtmctl completion bash >'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/gtmctl'
	bin/gtmctl completion zsh >'$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_gtmctl'
	bin/gtmctl completion fish >'$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/gtmctl.fish'

.PHONY: run
run: build ## Build, then serve zones/demo.yaml in all roles (Ctrl-C ends it)
	@exec bin/gtmd --demo --data '$(DATA)' --apply zones/demo.yaml $(RUNFLAGS)

# Tests are run without vet: lint has had all of it already.
GOTEST = $(GO) test -vet=off

.PHONY: zoneinfo
zoneinfo: ## Take the rules of time zones of the Go toolchain
	install -m 644 "$$($(GO) env GOROOT)/lib/time/zoneinfo.zip" pkg/spec/recur/zoneinfo.zip

.PHONY: test
test: lint ## Format, vet, staticcheck, every test that needs only Go
	@once='^$$'; racy=; \
	if command -v "$$($(GO) env CC)" >/dev/null; then \
		racy=$$($(RACY) | sed 's|^|./|'); \
		once="/($$($(RACY) | grep -vE '^($(TWICE))' | paste -sd'|'))$$"; \
	elif [ -n "$${CI:-}" ]; then \
		echo "make test: the race detector needs a C compiler; install gcc" >&2; exit 1; \
	else \
		echo "make test: no C compiler, so the race detector does not run; install gcc to have it" >&2; \
	fi; \
	set -x; \
	$(GOTEST) $(WAITING) -skip '^TestDemoFailsOver$$' $$($(GO) list ./... | grep -vE "$$once"); \
	$(GO) test -C bench -vet=off ./...; \
	$(GOTEST) -count=1 -v -run '^TestDemoFailsOver$$' ./cmd/gtmd | grep -v '^time='; \
	if [ -n "$$racy" ]; then $(GOTEST) $(WAITING) -race $$racy; fi

# Tests wait more than they compute, for disks and elections: more packages at once than there are cores.
WAITING = -p $$((2 * $$(nproc)))

FORMATTED = unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w would change:" $$unformatted >&2; exit 1; fi

.PHONY: lint
lint: ## Format, vet and staticcheck only
	@$(FORMATTED)
	@if grep -rlE '^//go:build .*!interop' --include='*.go' .; then echo "vet and staticcheck see no file without the tag interop"; exit 1; fi >&2
	$(GO) vet -tags interop ./...
	$(GO) vet -tags noembed ./cmd/gtmd ./pkg/store/embedded
	$(GO) vet -C bench ./...
	$(GO) tool staticcheck -tags interop ./...
	cd bench && $(GO) tool staticcheck ./...

# What takes longer than one waits for while working.
SLOW = cmd|pkg/edge|pkg/geo|pkg/probe|pkg/serve|pkg/store

.PHONY: check
check: ## Quick, while you work: format, vet, the rules of the house, the tests of what is fast
	@$(FORMATTED)
	$(GO) vet ./...
	$(GOTEST) $$($(GO) list ./... | grep -vE '/($(SLOW))(/|$$)')

# The vulnerabilities that the programs reach, of a database that is a module. What .ci/vuln/go.mod requires is verified by its hashes.
VULN = -modfile=$(CURDIR)/.ci/vuln/go.mod

.PHONY: vuln
vuln: ## Known vulnerabilities that the code reaches (govulncheck)
	$(GO) mod download $(VULN) golang.org/x/vulndb
	@set -x; db=file://$$($(GO) list -m $(VULN) -f '{{.Dir}}' golang.org/x/vulndb)/data/osv; \
	$(GO) tool $(VULN) govulncheck -db "$$db" ./...; \
	$(GO) tool -C bench $(VULN) govulncheck -db "$$db" ./...

# Each process of these tests has a network and mounts of its own, and they wait more than they compute: two run at once, each with tests
# of about the same time together.
HALF  = Random|Manual|Restore
CHAOS = $(GOTEST) -tags interop -count=1 -v -timeout 20m ./cmd/gtmd/interop/chaos

.PHONY: interop
interop: ## Install real clients (apt-get, as root) and test against them
	cmd/gtmd/interop/install $(CLIENTS)
	$(GOTEST) -tags interop -count=1 -v -timeout 10m $$($(GO) list -tags interop ./cmd/gtmd/interop/... | grep -v /chaos$$)
	@half=$$(mktemp); trap 'rm -f "$$half"' EXIT; failed=; set -x; \
	$(CHAOS) -run '$(HALF)' >"$$half" 2>&1 & \
	$(CHAOS) -skip '$(HALF)' || failed=1; \
	wait $$! || failed=1; cat "$$half"; [ -z "$$failed" ]
	@files=$$(grep -rlE '^//go:build interop' --include='*_test.go' pkg cmd | grep -v '^cmd/gtmd/interop' || true); \
	if [ -n "$$files" ]; then \
		tests=$$(grep -hoE '^func Test[A-Za-z0-9_]+' $$files | sed 's/^func //' | paste -sd'|'); \
		others=$$(dirname $$files | sort -u | sed 's|^|./|'); \
		set -x; $(GOTEST) -tags interop -count=1 -v -timeout 10m -run "^($$tests)$$" $$others; \
	fi

.PHONY: chaos
chaos: ## Kill, stop, cut and restore at random, under a load that judges every answer (as root)
	CHAOS_SEED='$(SEED)' CHAOS_FOR='$(FOR)' $(GO) test -tags interop -count=1 -v -timeout 0 -run 'TestRandom$$' ./cmd/gtmd/interop/chaos

.PHONY: crash
crash: ## Kill control between any two steps of a change, a rollout and a clean-up (make interop does, too)
	$(GOTEST) -tags interop -count=1 -v -timeout 15m ./cmd/gtmd/interop/crash

# Of what a fuzz target runs, only gtm's own packages tell the fuzzer what they did: etcd and the standard library are not compiled anew.
.PHONY: fuzz
fuzz: ## Fuzz every fuzz target for FUZZTIME each
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; known=$$($(GO) env GOCACHE)/fuzz; \
	for pkg in $$(grep -rlE '^func Fuzz' --include='*_test.go' pkg cmd | xargs -n1 dirname | sort -u); do \
		$(GOTEST) -c -gcflags='github.com/gti/gtm/...=-d=libfuzzer' -o "$$tmp/test" "./$$pkg"; \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$pkg"/*_test.go | sed 's/^func //'); do \
			echo "$$pkg $$target"; \
			(cd "$$pkg"; "$$tmp/test" -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) \
				-test.fuzzcachedir "$$known/github.com/gti/gtm/$$pkg"); \
		done; \
	done

.PHONY: bench
bench: build ## Compare with other servers and the kernel's floor, with tables and plots (bench/README.md)
	cmd/gtmd/interop/install $(PEERS)
	$(GO) run -C bench ./matrix -pairs $(PAIRS) -only '$(ONLY)' $(if $(QUICK),-quick)

# Further programs of bench, each with a report of its own.
.PHONY: bench-xdp bench-streams bench-scale bench-latency bench-prober bench-company
bench-prober bench-company: bench-%: build
	$(GO) run -C bench ./$*
bench-xdp bench-streams bench-scale bench-latency: bench-%: build
	cmd/gtmd/interop/install $(PEERS)
	$(GO) run -C bench ./$* -pairs $(PAIRS)

.PHONY: bench-moved
bench-moved: ## What a cut of 100,000 endpoints and a million of which one percent flaps make: three quarters of an hour
	$(GO) test ./pkg/prober -run '^$$' -bench 'Cut$$|Flapping$$/1000000' -benchtime 1x -v -timeout 2h

.PHONY: bench-all
bench-all: bench bench-streams bench-xdp bench-latency bench-scale bench-prober bench-company ## bench, and encrypted transports, AF_XDP, latency of changes, scale, checks

.PHONY: simulate
simulate: ## Play scenarios against gtm's own code in virtual time; fails where a mark is missed (bench/README.md)
	$(GO) run -C bench ./simulate -only '$(ONLY)' $(if $(QUICK),-short)

.PHONY: bench-compare
bench-compare: ## Compare micro benchmarks with those of the commit REF (benchstat)
	GO='$(GO)' bench/compare '$(REF)'

.PHONY: budget
budget: ## Compare time and allocations of the hot paths with those of the commit before; fails where they grew by more than LIMIT
	GO='$(GO)' LIMIT='$(LIMIT)' bench/budget $(BEFORE)

.PHONY: profile
profile: ## Profile the way of a query anew; builds of gtmd are optimized by it (cmd/gtmd/default.pgo)
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; set -x; \
	$(GO) test -run '^$$' -bench 'Steered/1000$$/ahead|Answer' -benchtime 20s -cpuprofile "$$tmp/answer" -o "$$tmp/test" ./pkg/answer; \
	$(GO) test -run '^$$' -bench 'Echo$$' -benchtime 5s -cpuprofile "$$tmp/serve" -o "$$tmp/test" ./pkg/serve/datagram; \
	$(GO) tool pprof -proto "$$tmp/answer" "$$tmp/serve" >"$$tmp/both"; mv "$$tmp/both" cmd/gtmd/default.pgo

.PHONY: clean
clean: ## Remove what was built (the data folder stays)
	rm -rf bin
