# `make demo` and `make test` are all a newcomer needs; both build first. The first build compiles RocksDB's C++.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET)/release
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: demo test chaos planted soak verify fix bench bench-engine build libclang help

help:
	@echo "make demo    three nodes replicate a real file, one is killed, every line is accounted for"
	@echo "make test    all tests"
	@echo "make chaos   a cluster under all faults there are for two minutes; SEED chooses what happens when"
	@echo "make planted builds with a bug each, planted on purpose: every one must be found; half an hour; SEED"
	@echo "make soak    the log engine's random tests for about an hour, then a cluster under all faults for four; SOAK_CASES, SEED"
	@echo "make verify  formatting, lints, documentation; writes nothing"
	@echo "make fix     repairs what verify would complain about, as far as tools can"
	@echo "make bench   throughput, latency and memory of three nodes on this machine, beside its disk: docs/benchmarks.md"
	@echo "make bench-engine   the log engine alone, beside a plain write+fdatasync loop"

libclang:
	@scripts/install-libclang.sh

# One command builds everything that is ever needed, so that RocksDB is compiled once and with one set of options.
build: libclang
	$(CARGO) build --release --locked --workspace --all-targets

demo: build
	@scripts/demo.sh $(BIN)

test: build
	$(CARGO) test --release --locked --workspace --doc --quiet
ifeq ($(NEXTEST),yes)
	$(CARGO) nextest run --release --locked --workspace
else
	$(CARGO) test --release --locked --workspace --all-targets
endif

# Nodes are killed, paused and cut off while producers and consumers run; the history is judged at the end.
SEED ?= 1
chaos: build
	$(BIN)/quorate-chaos run --profile quick --seed $(SEED)

# Programs with bugs planted on purpose, apart from the others: what is built last here has none.
planted: libclang
	$(CARGO) build --release --locked --workspace --all-targets --features quorate-chaos-tests/planted-bugs
	mkdir -p $(TARGET)/planted
	cp $(BIN)/quorate-chaos $(BIN)/quorate-chaos-node $(TARGET)/planted
	$(MAKE) build
	$(TARGET)/planted/quorate-chaos planted --seed $(SEED)

# A hundred times the cases of `make test`, each time with other seeds, and hours of faults.
SOAK_CASES ?= 1000000
soak: build
	QUORATE_MODEL_CASES=$(SOAK_CASES) $(CARGO) test --release --locked --package quorate-log-engine --test engine model
	FUZZ_EXECUTIONS=5000000 FUZZ_SEED=$$$$ $(CARGO) test --release --locked --package quorate-log-engine --test format any_bytes
	$(BIN)/quorate-chaos run --profile soak --seed $(SEED)

verify: libclang
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --release --locked --workspace --all-targets --features quorate-chaos-tests/planted-bugs -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --workspace --no-deps --quiet
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --offline check bans licenses sources; \
	else echo "cargo-deny is not installed: licences and duplicates were not checked (cargo install cargo-deny)"; fi

fix: libclang
	$(CARGO) clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all
	QUORATE_WRITE_DOCS=1 $(CARGO) test --release --package quorate-cluster-config --package quorate-cli reference

bench: build
	@scripts/bench.sh $(BIN)

bench-engine: build
	$(CARGO) bench --locked --package quorate-log-engine
