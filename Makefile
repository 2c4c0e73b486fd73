# What people type. Each target is one idea; what is longer than a line is in scripts/.

.POSIX:
.SUFFIXES:
.PHONY: help deps build demo ceremony-demo serve test crashes test-faults test-devices test-instances bench bench-full flamegraph bench-instances deb test-package lint fuzz mutants clean

CARGO = cargo

help:
	@echo 'make demo    a certificate minted with a key in a SoftHSM token, from nothing to `demo: ok`'
	@echo 'make ceremony-demo  roots with a quorum, a backup that is restored in another token, an intermediate, a cross-certificate and CRLs, judged by openssl and pkilint'
	@echo 'make serve   the daemon in the foreground on 127.0.0.1:4443, with its files in run/'
	@echo 'make test    every test, SoftHSM included'
	@echo 'make crashes  200 rounds of kill -9 under 64 clients; make test does 20'
	@echo 'make test-faults  every fault of a key device in every use of it, under load, as a table (ten minutes); FAULTS=write puts it into docs/faults.md; make test tries each kind once'
	@echo 'make test-devices  what each PKCS #11 module can do that this machine can have, as a table, compared with docs/devices/README.md (root; minutes); DEVICES=write puts it there'
	@echo 'make test-rotation  a minute of minting and rotating at once, with its numbers, on a machine that does nothing else'
	@echo 'make test-instances  the serial rule of instances, and the whole ledger, against a model, over 10,000 random histories each (minutes); make test does some hundred'
	@echo 'make bench   the daemon against what its token can do: a table, and run/bench.json (five minutes, after a release build), on a machine that does nothing else'
	@echo 'make bench-full  the same with a log of 10,000,000 entries, an overload of a minute and a soak of 1,000,000 certificates (half an hour)'
	@echo 'make flamegraph  where core and front spend their time under 64 clients: run/flamegraph.svg'
	@echo 'make bench-instances  bytes, start and lookups of a ledger with INSTANCES records (100000), on a machine that does nothing else'
	@echo 'make deb     the Debian package, after a release build'
	@echo 'make test-package  the package and its units under systemd, in a machine that is thrown away (root; minutes); PROGRAMS=release tries the release build'
	@echo 'make lint    formatting, clippy without warnings, licences and duplicate crates'
	@echo 'make build   the programs hallmarkd and hallmark, in target/debug'
	@echo 'make fuzz    every fuzz target for a minute (needs cargo-fuzz)'
	@echo 'make mutants  every change of policy that its tests have to notice: hours; MUTANTS_SHARD=0/16 is the first of 16 parts'
	@echo 'make deps    install the Debian packages that are missing'
	@echo 'make clean   remove what was built, and run/ with its laboratory keys'

deps:
	@scripts/deps

build: deps
	$(CARGO) build --locked --workspace --bins

demo: build
	@scripts/demo

ceremony-demo: build
	@scripts/ceremony-demo

serve: build
	@scripts/serve

test: build
	rm -rf $${CARGO_TARGET_DIR:-target}/softhsm-tokens
	$(CARGO) test --locked --workspace

crashes: build
	HALLMARK_CRASH_ROUNDS=200 $(CARGO) test --locked -p hallmark-tests --test crashes -- --nocapture

FAULTS = all

test-faults: build
	HALLMARK_FAULTS=$(FAULTS) $(CARGO) test --locked -p hallmark-tests --test faults -- --nocapture --test-threads 1

DEVICES = all

test-devices: build
	@scripts/deps devices
	$(CARGO) test --locked -p hallmark-backends --lib -- conformance --skip conformance::devices
	HALLMARK_DEVICES=$(DEVICES) $(CARGO) test --locked -p hallmark-backends --lib -- --nocapture conformance::devices
	HALLMARK_DEVICES=$(DEVICES) $(CARGO) test --locked --workspace --test devices --test post_quantum

test-rotation: deps
	HALLMARK_ROTATION_SECONDS=60 $(CARGO) test --locked -p hallmark-tests --test fences -- --nocapture

test-instances: deps
	HALLMARK_SEQUENCES=10000 $(CARGO) test --locked -p hallmark-ledger --lib model
	HALLMARK_LEDGER_SEQUENCES=10000 $(CARGO) test --locked -p hallmark-ledger --test histories

BENCH =

bench: deps
	$(CARGO) build --locked --release -p hallmark-daemon -p hallmark-load -p hallmark-bench
	$${CARGO_TARGET_DIR:-target}/release/hallmark-bench $(BENCH)

INSTANCES = 100000

bench-full: deps
	$(CARGO) build --locked --release -p hallmark-daemon -p hallmark-load -p hallmark-bench
	$${CARGO_TARGET_DIR:-target}/release/hallmark-bench --full $(BENCH)

flamegraph: deps
	@scripts/deps flamegraph
	$(CARGO) build --locked --release -p hallmark-daemon -p hallmark-load -p hallmark-bench
	@scripts/flamegraph

bench-instances: deps
	$(CARGO) build --locked --release -p hallmark-log-bench
	$${CARGO_TARGET_DIR:-target}/release/hallmark-log-bench instances --instances $(INSTANCES)

deb: deps
	@scripts/deps package
	$(CARGO) build --locked --release -p hallmark-daemon -p hallmark-cli -p hallmark-publish
	@scripts/deb

PROGRAMS = debug

test-package: build
	@scripts/test-package $${CARGO_TARGET_DIR:-target}/$(PROGRAMS)

lint: deps
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@scripts/licences

fuzz:
	@scripts/fuzz

mutants:
	@scripts/mutants

clean:
	$(CARGO) clean
	rm -rf run
