# Everything this repository can do, by name. `make` lists it; `make check` is what CI runs.

SHELL         := bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help

BINARIES := sallyport auth-gateway totp-svc sms-dispatcher policy-svc
TIMEOUT  ?= 25m
FUZZTIME ?= 1m
TESTFLAGS = -count=1 -shuffle=on -timeout=$(TIMEOUT)
# Whole products, each with everybody's patience: they take turns with the machine. Those of test/fault and test/cluster, who kill
# and pause, wait most of the time: they go together, and fuzzers have what is left of the cores.
ALONE   := attack e2e browser
WAITING := fault cluster
# Tests keep their data in memory where 8 GiB are free there: what a disk takes to sync is most of what they would wait for.
ROOM := $(shell [[ -w /dev/shm && $$(df --output=avail -m /dev/shm 2>/dev/null | tail -n 1) -gt 8192 ]] && echo /dev/shm)

# `work` is the Go command's own pattern for every package of every module in go.work.
MODULES  := $(patsubst %/go.mod,%,$(wildcard pkg/go.mod services/*/go.mod test/go.mod))
LINT_VER := v2.15.0
LINT     := .tools/golangci-lint-$(LINT_VER)/golangci-lint

##@ Use
.PHONY: run
run: build ## build everything and start a demo portal on http://127.0.0.1:8080
	@exec bin/sallyport up --demo

.PHONY: build
build: scripts-go ## build the binaries into bin/
	@for name in $(BINARIES); do \
		CGO_ENABLED=0 go build -trimpath -o bin/$$name ./services/$$name; \
	done; ls -1 $(addprefix bin/,$(BINARIES))

##@ Develop
.PHONY: test
test: export TMPDIR := $(or $(ROOM),$(TMPDIR),/tmp)
test: setup ## run every test, and each fuzzer for 6 s (installs Chromium, oathtool, zbarimg, Prometheus and haproxy through apt when missing)
	@failed=0; \
		go test $(TESTFLAGS) $$(go list work | grep -vE '/test/($(subst $() ,|,$(ALONE) $(WAITING)))$$') || failed=1; \
		for suite in $(ALONE); do go test $(TESTFLAGS) ./test/$$suite || failed=1; done; \
		nice scripts/fuzz --plain 6s & fuzz=$$!; \
		go test $(TESTFLAGS) $(addprefix ./test/,$(WAITING)) || failed=1; wait $$fuzz || failed=1; exit $$failed

.PHONY: race
race: setup ## run every test under the race detector (needs a C compiler)
	@go test -race -count=1 -shuffle=on -timeout=$(TIMEOUT) work

.PHONY: cover
cover: setup ## run every test and print how much of each function it reaches
	@mkdir -p .artifacts
	@go test -count=1 -timeout=$(TIMEOUT) -coverpkg=work -coverprofile=.artifacts/cover.out work
	@go tool cover -html=.artifacts/cover.out -o .artifacts/cover.html
	@go tool cover -func=.artifacts/cover.out | tail -n 1

.PHONY: bench
bench: scripts-go ## measure everything beside its floor and write docs/performance.md (about 7 minutes)
	@go run ./test/bench -o docs/performance.md

.PHONY: fault
fault: scripts-go ## kill, pause and starve dispatchers and NATS, restart everything, with the figures, and let codes expire (about 15 minutes)
	@FAULT_LONG=1 go test -count=1 -v -parallel=4 -p=1 -timeout=$(TIMEOUT) ./test/fault ./test/cluster

.PHONY: pictures
pictures: setup ## play the stories in the browser, and leave pictures of all pages in .artifacts/screenshots
	@go test -count=1 -timeout=$(TIMEOUT) ./test/browser -pictures

.PHONY: fuzz
fuzz: scripts-go ## run every fuzz target for FUZZTIME (1m) each, two at a time
	@scripts/fuzz $(FUZZTIME)

.PHONY: mutate
mutate: setup ## take each named guard out of the source: its test must fail (its table is in docs/security.md)
	@go run ./test/mutate -o docs/security.md

.PHONY: lint
lint: scripts-go $(LINT) ## check format, vet and the rules of .golangci.yml
	@$(LINT) run $(addsuffix /...,$(addprefix ./,$(MODULES)))

.PHONY: fmt
fmt: scripts-go $(LINT) ## format all Go files
	@$(LINT) fmt $(addprefix ./,$(MODULES))

.PHONY: tidy
tidy: scripts-go ## tidy every module
	@for module in $(MODULES); do (cd $$module && go mod tidy); done

.PHONY: tidy-check
tidy-check: scripts-go ## say which module is not tidy
	@for module in $(MODULES); do (cd $$module && go mod tidy -diff); done

.PHONY: check
check: ## run exactly what CI runs
	@.ci/run

##@ Housekeeping
.PHONY: setup
setup: ## install what the tests need (nothing to do when it is there)
	@scripts/setup

.PHONY: clean
clean: ## remove what make produced (a demo's data in .sallyport stays)
	@rm -rf bin .tools .artifacts

.PHONY: help
help: ## print this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Not for people: the first says early that Go is missing or too old, the second installs the linter when it is
# missing or of another version.
.PHONY: scripts-go
scripts-go:
	@scripts/setup --go-only

$(LINT):
	@echo "installing golangci-lint $(LINT_VER) (about two minutes, once)"
	@GOWORK=off GOFLAGS= GOBIN=$(abspath $(@D)) \
		go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VER)
