#!/usr/bin/env bash
# Measures produce and consume on a fresh cluster of three nodes on this machine, several runs each.
#
#   scripts/bench.sh BIN_DIR [RUNS=3]         BASE_PORT=7401 in the environment moves the ports
set -euo pipefail
bin=$1
runs=${2:-3}
base=${BASE_PORT:-7401}
work=$(mktemp -d)
trap '"$bin/quorate" local stop --dir "$work/cluster" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
"$bin/quorate" local start --detach --dir "$work/cluster" --base-port "$base" >/dev/null
for workload in produce consume; do
    for _ in $(seq "$runs"); do
        "$bin/quorate" --server "127.0.0.1:$base" --output json bench "$workload" --partitions 4 --replication-factor 3 --size 1024
    done
done
