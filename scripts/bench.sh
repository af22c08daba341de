#!/usr/bin/env bash
# Measures three nodes on this machine, with the disk beside them, and prints medians and ratios: docs/benchmarks.md.
#
#   scripts/bench.sh BIN_DIR
#
# In the environment:
#   RUNS=3            rounds; a figure is the median of that many runs
#   RUN_SECONDS=5     how long one run takes
#   BASE_PORT=7401    the first of the nodes' ports
#   BENCH_DIR         a directory on the disk to measure [BIN_DIR]; some 10 GB are needed there for a while
#   BENCH_JSON        the file for the results [BIN_DIR/bench.json]
#   NATS_CLUSTER, NATS_BENCH, NATS_DIR    NATS in the same sitting
set -euo pipefail
export LC_ALL=C

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "bench: $*"
    exit 1
}

[ $# -eq 1 ] || fail "one argument is needed, the directory of quorate and quorate-node"
bin=$(cd "$1" 2>/dev/null && pwd) || fail "$1 is no directory, build first: make build"
quorate=$bin/quorate
[[ -x $quorate && -x $bin/quorate-node ]] || fail "$bin lacks quorate or quorate-node, build first: make build"
runs=${RUNS:-3}
seconds=${RUN_SECONDS:-5}
base=${BASE_PORT:-7401}
for number in "$runs" "$seconds" "$base"; do
    [[ $number =~ ^[1-9][0-9]{0,4}$ ]] || fail "RUNS, RUN_SECONDS and BASE_PORT are whole numbers above 0, not '$number'"
done
result=${BENCH_JSON:-$bin/bench.json}
work=$(mktemp -d "${BENCH_DIR:-$bin}/bench-XXXXXX") || fail "cannot write to ${BENCH_DIR:-$bin}, set BENCH_DIR"
work=$(cd "$work" && pwd)
cluster=$work/cluster
nats_dir=${NATS_DIR:-$work/nats}
cluster_up=
nats_up=
round=0
export QUORATE_SERVER=127.0.0.1:$base,127.0.0.1:$((base + 1)),127.0.0.1:$((base + 2)) QUORATE_NODE_BIN=$bin/quorate-node
# shellcheck source=scripts/bench-table.sh
source "$(dirname "${BASH_SOURCE[0]}")/bench-table.sh"

# limited SECONDS COMMAND…: a command that takes longer is ended. Without timeout(1) its own deadlines remain.
limited() {
    local limit=$1
    shift
    if command -v timeout >/dev/null; then timeout --foreground -k 10 "$limit" "$@"; else "$@"; fi
}

stop_cluster() {
    [ -n "$cluster_up" ] || return 0
    cluster_up=
    limited 60 "$quorate" local stop --dir "$cluster" >/dev/null 2>&1 || say "bench: the nodes may still run in $cluster"
}
stop_nats() {
    [ -n "$nats_up" ] || return 0
    nats_up=
    limited 60 "$NATS_CLUSTER" down "$nats_dir" >/dev/null 2>&1 || say "bench: NATS may still run in $nats_dir"
    # Its ports are free a moment after its processes were told to end.
    sleep 3
}
# Ends what was started here, and nothing else.
clean_up() {
    trap '' INT TERM HUP
    stop_nats
    stop_cluster
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# measure NAME COMMAND…: the JSON that it prints goes to $json and to the list of all runs.
measure() {
    local name=$1
    shift
    json=$(limited $((seconds * 6 + 120)) "$@") || fail "round $round: $name failed"
    json=$(tr -s ' \n' ' ' <<<"$json")
    printf '{"round": %s, "name": "%s", "result": %s}\n' "$round" "$name" "$json" >>"$work/runs"
}
bench() { measure "$1" "$quorate" --output json bench "${@:2}"; }

# field NAME: a number of $json.
field() { grep -o "\"$1\": *[0-9.eE+-]*" <<<"$json" | head -n 1 | sed 's/.*: *//'; }

# disk FILES STEP [--growing]: what the disk allows just now. The topic of the run before is deleted in the background.
disk() {
    sleep 1
    bench "disk, $1 x $2 ${*:3}" disk --dir "$work" --files "$1" --step "$2" --seconds 1 "${@:3}"
}
# What the disk allows files that grow, and files that are written again: $grown and $limit.
disk_256k() {
    disk 3 256KiB --growing
    grown=$(field mb_per_s_per_file)
    keep disk.3x256k.growing "$grown"
    disk 3 256KiB
    limit=$(field mb_per_s_per_file)
    keep disk.3x256k "$limit"
}
disk_4k() {
    disk 3 4KiB
    keep disk.3x4k "$(field p50)"
    disk 1 4KiB --growing
    sync_grown=$(field p50)
    keep disk.1x4k.growing "$sync_grown"
    disk 1 4KiB
    sync=$(field p50)
    keep disk.1x4k "$sync"
}

# beside KEY NAME FIGURE BEFORE AFTER: the disk before and after a figure, and their ratio.
beside() {
    local around
    around=$(calculate "($4 + $5) / 2")
    keep "$1.$2" "$around"
    keep "$1.$2.ratio" "$(ratio "$3" "$around")"
}

# compare KEY FIGURE BEFORE AFTER GROWN_BEFORE GROWN_AFTER: the figure beside the disk.
compare() {
    keep "$1" "$2"
    beside "$1" disk "$2" "$3" "$4"
    beside "$1" growing "$2" "$5" "$6"
}

measure_throughput() {
    local before=$limit grown_before=$grown produced rate topic=bench-warm
    limited 60 "$quorate" topic create "$topic" --partitions 4 --replication-factor 3 >/dev/null || fail "cannot create a topic"
    bench "produce, 4 partitions" produce --topic "$topic" --seconds "$seconds"
    produced=$(field mb_per_s)
    rate=$(field messages_per_s)
    half=$(calculate "int($rate / 2) + 1")
    bench "consume, from the disk" consume --topic "$topic"
    keep consume "$(field mb_per_s)"
    limited 60 "$quorate" topic delete "$topic" --yes >/dev/null || fail "cannot delete a topic"
    disk_256k
    compare produce4 "$produced" "$before" "$limit" "$grown_before" "$grown"

    before=$limit grown_before=$grown
    # One partition has one window of batches: larger ones keep more bytes in flight.
    bench "produce, 1 partition" produce --partitions 1 --producers 1 --batch-size 1MiB --seconds "$seconds"
    produced=$(field mb_per_s)
    disk_256k
    compare produce1 "$produced" "$before" "$limit" "$grown_before" "$grown"

    bench "100-byte records" produce --size 100 --partitions 4 --seconds "$seconds"
    keep small "$(field messages_per_s)"
}

measure_latency() {
    local before grown_before p50 p99
    disk_4k
    before=$sync grown_before=$sync_grown
    bench "one record in flight" latency --one-at-a-time --partitions 1 --seconds "$seconds"
    p50=$(field p50)
    p99=$(field p99)
    disk_4k
    compare alone.p50 "$p50" "$before" "$sync" "$grown_before" "$sync_grown"
    compare alone.p99 "$p99" "$before" "$sync" "$grown_before" "$sync_grown"
    keep alone.rest "$(calculate "$p50 - $before - $sync")"
    keep alone.rest.growing "$(calculate "$p50 - $grown_before - $sync_grown")"
    bench "half of the load" latency --rate "$half" --partitions 4 --seconds "$seconds"
    keep half.rate "$(field messages_per_s)"
    keep half.p99 "$(field p99)"
}

# The most memory that each of the nodes has had so far, in MiB.
measure_memory() {
    [ -r /proc/self/status ] || return 0
    local pid
    limited 60 "$quorate" local status --dir "$cluster" --output json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' |
        while read -r pid; do awk '$1 == "VmHWM:" { printf "%.1f\n", $2 / 1024 }' "/proc/$pid/status"; done
}

# measure_nats KEY MESSAGES ALONE [SYNC]: NATS, with that interval of syncs or its own, and that many messages.
measure_nats() {
    local key=$1 messages=$2 alone=$3
    nats_up=yes
    if ! limited 180 "$NATS_CLUSTER" up "$nats_dir" 3 "${@:4}" >"$work/nats.log" 2>&1; then
        say "bench: NATS does not start: $(tail -n 1 "$work/nats.log")"
        stop_nats
        return 0
    fi
    for round in $(seq "$runs"); do
        say "$key, round $round of $runs"
        measure "$key, produce" "$NATS_BENCH" --streams 4 --messages "$messages" --size 1024 produce
        keep "$key.produce4" "$(field mb_per_s)"
        measure "$key, consume" "$NATS_BENCH" --streams 4 --messages "$messages" --size 1024 consume
        keep "$key.consume" "$(field mb_per_s)"
        measure "$key, one message in flight" "$NATS_BENCH" --streams 1 --messages "$alone" --size 1024 produce --mode sync
        keep "$key.alone.p50" "$(field p50)"
        keep "$key.alone.p99" "$(field p99)"
    done
    stop_nats
}

# How much of the cores is in use just now, where the system tells.
busy_percent() {
    [ -r /proc/stat ] || return 0
    { head -n 1 /proc/stat && sleep 1 && head -n 1 /proc/stat; } | awk '
        { all = 0; for (i = 2; i <= 9; i++) all += $i; idle = $5 + $6 }
        NR == 1 { all_before = all; idle_before = idle }
        NR == 2 { if (all > all_before) printf "%d", 100 - 100 * (idle - idle_before) / (all - all_before) }'
}

nats_row() {
    row "$1" "$2" "$3" "NATS, a sync a message" "nats-always.$2"
    row "$1" "$2" "$3" "NATS, its default" "nats-default.$2"
}

table() {
    header
    row "produce, 4 partitions, 1 KiB" produce4 MB/s "disk, 3 files, 256 KiB steps" produce4.disk "$(median produce4.disk.ratio)"
    row "produce, 4 partitions, 1 KiB" produce4 MB/s "disk, 3 growing files, 256 KiB" produce4.growing "$(median produce4.growing.ratio)"
    nats_row "produce, 4 partitions, 1 KiB" produce4 MB/s
    row "produce, 1 partition, 1 KiB" produce1 MB/s "disk, 3 files, 256 KiB steps" produce1.disk "$(median produce1.disk.ratio)"
    row "produce, 1 partition, 1 KiB" produce1 MB/s "disk, 3 growing files, 256 KiB" produce1.growing "$(median produce1.growing.ratio)"
    row "one record in flight, p50" alone.p50 ms "disk, 1 file, 4 KiB steps, p50" alone.p50.disk "$(median alone.p50.disk.ratio)"
    nats_row "one record in flight, p50" alone.p50 ms
    row "one record in flight, p50 - 2 x disk" alone.rest ms
    row "... - 2 x disk, growing" alone.rest.growing ms
    row "one record in flight, p99" alone.p99 ms "disk, 1 file, 4 KiB steps, p50" alone.p99.disk "$(median alone.p99.disk.ratio)"
    nats_row "one record in flight, p99" alone.p99 ms
    row "half of the load, 1 KiB" half.rate records/s
    row "half of the load, 1 KiB, p99" half.p99 ms
    row "100-byte records, 4 partitions" small records/s
    row "consume, 4 partitions, 1 KiB" consume MB/s
    nats_row "consume, 4 partitions, 1 KiB" consume MB/s
    row "memory of a node, the greatest" memory MiB
    row "disk, 3 files, 256 KiB steps, each" disk.3x256k MB/s
    row "disk, 3 files, 256 KiB, growing, each" disk.3x256k.growing MB/s
    row "disk, 3 files, 4 KiB steps, p50" disk.3x4k ms
    row "disk, 1 file, 4 KiB steps, p50" disk.1x4k ms
    row "disk, 1 file, 4 KiB, growing, p50" disk.1x4k.growing ms
}

# What makes figures worthless is better known before.
busy=$(busy_percent)
[ "${busy:-0}" -lt 10 ] || say "bench: other programs take $busy% of this machine's cores, figures will be poor"
case $(stat -f -c %T "$work" 2>/dev/null || true) in
    tmpfs | ramfs) say "bench: $work is memory and no disk, set BENCH_DIR" ;;
esac
free_gb=$(df -Pk "$work" | awk 'NR == 2 { printf "%d", $4 * 1024 / 1e9 }')
[ "$free_gb" -ge 10 ] || say "bench: only $free_gb GB are free in $work, set BENCH_DIR"

began=$(date -u +%Y-%m-%dT%H:%M:%SZ)
cluster_up=yes
if ! limited 120 "$quorate" local start --detach --dir "$cluster" --base-port "$base" >/dev/null; then
    # What had started was stopped again.
    cluster_up=
    fail "the nodes do not start"
fi
for round in $(seq "$runs"); do
    say "round $round of $runs: throughput"
    disk_256k
    measure_throughput
    say "round $round of $runs: latency"
    measure_latency
done
memory=$(measure_memory | sort -g | tail -n 1)
[ -z "$memory" ] || keep memory "$memory"
stop_cluster

if [ -n "${NATS_CLUSTER:-}" ] && [ -n "${NATS_BENCH:-}" ]; then
    measure_nats nats-default 200000 4000
    measure_nats nats-always 10000 1500 always
else
    say "NATS was not measured: NATS_CLUSTER and NATS_BENCH are not set, see docs/benchmarks.md"
fi

say ""
table
{
    printf '{"began": "%s", "kernel": "%s", "cores": %s, "rounds": %s, "run_seconds": %s,\n' \
        "$began" "$(uname -srm)" "$(getconf _NPROCESSORS_ONLN)" "$runs" "$seconds"
    printf '"table": [\n%s\n],\n"runs": [\n%s\n]}\n' "$(sed '$!s/$/,/' "$work/rows")" "$(sed '$!s/$/,/' "$work/runs")"
} >"$result"
say ""
say "all runs: $result"
