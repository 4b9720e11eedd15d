# `make help` lists the targets. No logic here: what takes more than a line is a script or a test.
.DEFAULT_GOAL := help
.PHONY: help build test e2e testbed chaos bench lint demo install clean preconditions packages

CARGO ?= cargo
PREFIX ?= $(HOME)/.local
PROFILE ?= release
export KUBECTL_CALICO_COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)

TESTBED := $(CARGO) run --quiet --locked --package tests --bin testbed --
OUT := $(or $(CARGO_TARGET_DIR),target)
BUILT := $(OUT)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
PLUGINS := kubectl-calico-doctor kubectl-calico-purge kubectl-calico-ebpf kubectl-calico-ipam
DENY := $(or $(shell command -v cargo-deny),target/tools/bin/cargo-deny)
INCIDENT := tests/recordings/R02-stale-token-sa-recreated

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: preconditions ## builds the plugins (PROFILE=dev for a quick build)
	$(CARGO) build --locked --profile $(PROFILE) $(addprefix --package ,$(PLUGINS))

test: lint packages ## lint, unit tests, recorded incidents, one live story per plugin
	$(CARGO) test --workspace --locked
	cd tests/testbed/standin && go test ./...
	$(TESTBED) down

e2e: export KUBECTL_CALICO_TESTBEDS ?= 2
e2e: preconditions packages ## every fault on a real cluster (Linux, root)
	$(CARGO) test --locked --package tests --features e2e --test 'e2e_*' -- --show-output
	$(TESTBED) down

testbed: export KUBECTL_CALICO_TESTBEDS ?= 2
testbed: preconditions packages ## the testbed's own tests, for who changes it (Linux, root)
	$(CARGO) test --locked --package tests --features e2e --test 'testbed*' -- --show-output
	$(TESTBED) down

chaos: export KUBECTL_CALICO_TESTBEDS ?= 2
chaos: preconditions packages ## kill matrices, races, scale, fuzz (Linux, root)
	PROPTEST_CASES=5000 $(CARGO) test --locked --package common
	$(CARGO) test --locked --package tests --features chaos --test 'chaos_*' -- --nocapture
	$(TESTBED) down

bench: build ## measures against the budgets
	PROGRAM=$(abspath $(BUILT)/kubectl-calico_doctor) $(CARGO) test --locked --package tests --features bench --test bench -- --nocapture

lint: preconditions $(DENY) ## format, clippy, layers, licences
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings
	$(CARGO) check --package common --no-default-features --locked
	$(CARGO) fetch --locked --quiet
	$(DENY) --offline --config .config/deny.toml check bans licenses sources
	@! command -v shellcheck >/dev/null || git ls-files '*.sh' .ci | xargs shellcheck

demo: preconditions ## diagnoses a recorded incident; needs no cluster
	@$(CARGO) build --locked --profile dev --package kubectl-calico-doctor
	@.ci/demo $(OUT)/debug/kubectl-calico_doctor $(INCIDENT)

install: build ## installs below PREFIX (default: ~/.local)
	@.ci/install $(BUILT) $(PREFIX)/bin

clean: ## stops the testbed and removes what was built
	[ ! -d /var/lib/kubectl-calico-testbed/0/run ] || $(TESTBED) down
	$(CARGO) clean
	rm -rf tests/testbed/.cache

preconditions:
	@.ci/preconditions

packages:
	@.ci/packages

target/tools/bin/cargo-deny:
	$(CARGO) install cargo-deny --version 0.20.2 --locked --root target/tools
