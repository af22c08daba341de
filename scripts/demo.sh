#!/usr/bin/env bash
# Replicates a real file over three nodes, kills one in the middle, and proves that every line arrived once, in order.
#
#   scripts/demo.sh BIN_DIR [WORK_DIR]        BASE_PORT=7101 in the environment moves the ports
#
# The file: the C++ sources of RocksDB, which the build has just compiled (some 600,000 lines), each line with its
# number in front, so that the proof can tell every line from every other.
set -euo pipefail
bin=$1
work=${2:-.demo}
base=${BASE_PORT:-7101}
servers=127.0.0.1:$base,127.0.0.1:$((base + 1)),127.0.0.1:$((base + 2))
export QUORATE_SERVER=$servers LC_ALL=C
quorate=$bin/quorate

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
seconds_since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'; }
now() { perl -MTime::HiRes=time -e 'printf "%.3f", time' 2>/dev/null || date +%s.%N; }

if [ -d "$work/cluster" ]; then
    "$quorate" local stop --dir "$work/cluster" >/dev/null 2>&1 || true
    rm -rf "$work"
fi
mkdir -p "$work"

say "the file"
# Only what this platform needs has been downloaded.
host=$(rustc -vV | sed -n 's/^host: //p')
sources=$(cargo metadata --format-version 1 --offline --filter-platform "$host" 2>/dev/null \
    | grep -o '"manifest_path":"[^"]*librocksdb-sys[^"]*Cargo.toml"' | head -n 1 | cut -d'"' -f4 | xargs dirname)/rocksdb
[ -d "$sources" ] || { echo "demo: the sources of RocksDB are not where cargo keeps them; run make demo again" >&2; exit 1; }
find "$sources" -name '*.cc' | sort | xargs cat | awk '{ printf "%d\t%s\n", NR, $0 }' >"$work/lines.txt"
lines=$(wc -l <"$work/lines.txt" | tr -d ' ')
echo "$work/lines.txt: the C++ sources of RocksDB, $lines lines, $(wc -c <"$work/lines.txt" | tr -d ' ') bytes"

say "three nodes on this machine"
"$quorate" local start --detach --dir "$work/cluster" --base-port "$base"
"$quorate" node list

say "a topic of 3 partitions, 3 replicas each"
"$quorate" topic create lines --partitions 3 --replication-factor 3
"$quorate" topic describe lines

victim=$("$quorate" topic describe lines --output json | grep -o '"leader": *[0-9]*' | grep -o '[0-9]*$' | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }')
say "producing the file; node $victim, which leads most partitions, is killed with -9 in the middle"
half=$((lines / 2))
{
    head -n "$half" "$work/lines.txt"
    "$quorate" local kill "$victim" --dir "$work/cluster" >&2
    now >"$work/killed-at"
    tail -n +$((half + 1)) "$work/lines.txt"
} | "$quorate" produce lines
gap=$(seconds_since "$(cat "$work/killed-at")")
echo "the remaining $((lines - half)) lines were all acknowledged $gap s after the kill"
awk -v gap="$gap" 'BEGIN { exit !(gap <= 3) }' || echo "that is more than 3 s: this machine is slow or busy with something else"
"$quorate" node list

say "consuming everything and checking the raw stream: every line once, in order, no sort and no uniq"
"$quorate" consume lines --from first --format '%p %o %v\n' | "$bin/quorate-chaos" verify-lines --input "$work/lines.txt"

say "restarting node $victim: it catches up"
"$quorate" local restart "$victim" --dir "$work/cluster"
for _ in $(seq 100); do
    "$quorate" cluster health >/dev/null 2>&1 && caught_up=yes && break
    sleep 0.2
done
"$quorate" topic describe lines
[ "${caught_up:-}" = yes ] || { "$quorate" cluster health; exit 1; }
"$quorate" cluster health

say "the cluster is running; try"
cat <<NEXT
  export PATH=$(cd "$bin" && pwd):\$PATH QUORATE_SERVER=$servers
  quorate topic describe lines
  quorate consume lines --from first --count 5
  echo hello | quorate produce lines
  quorate bench produce
  quorate local kill 2 --dir $work/cluster; quorate cluster health
and stop it with
  $quorate local stop --dir $work/cluster
NEXT
