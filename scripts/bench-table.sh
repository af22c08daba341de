# shellcheck shell=bash
# Figures of several runs, their medians, and the table of them. For scripts/bench.sh, which sets $work.
: "${work:?}"

# keep KEY NUMBER: one run's figure.
keep() { printf '%s %s\n' "$1" "$2" >>"$work/figures"; }

# figures KEY: all that were kept, the least first.
figures() { [ ! -f "$work/figures" ] || awk -v key="$1" '$1 == key { print $2 }' "$work/figures" | sort -g; }

# median KEY: nothing, if nothing was kept.
median() {
    figures "$1" | awk '{ v[NR] = $1 } END { if (NR) printf "%.6g", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

calculate() { awk "BEGIN { printf \"%.6g\", $1 }"; }

# ratio A B: nothing, if there is none.
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (a != "" && b > 0) printf "%.6g", a / b }'; }

# short: numbers, as a person reads them.
short() {
    awk 'NF { size = $1 < 0 ? -$1 : $1; printf(size >= 1000 ? "%.0f\n" : size >= 100 ? "%.1f\n" : size >= 10 ? "%.2f\n" : "%.3f\n", $1) }'
}

line() { printf '%-40s %10s %-9s  %-20s  %-31s %10s  %7s' "$@" | sed 's/ *$//'; printf '\n'; }

header() { line WORKLOAD MEDIAN '' RANGE 'BESIDE IT' MEDIAN RATIO; }

# row WORKLOAD KEY UNIT [WHAT IS BESIDE IT, ITS KEY, THE RATIO]: a line of the table on stdout, and an object for the
# JSON. Without figures there is no row. Without a ratio, that of the medians is taken.
row() {
    local workload=$1 key=$2 unit=$3 name=${4:-} beside='' quotient='' quoted=null middle range
    middle=$(median "$key")
    [ -n "$middle" ] || return 0
    if [ -n "$name" ]; then
        beside=$(median "$5")
        [ -n "$beside" ] || return 0
        quotient=${6:-$(ratio "$middle" "$beside")}
        quoted=\"$name\"
    fi
    range=$(figures "$key" | short | awk 'NR == 1 { first = $1 } END { if (NR > 1) print first " to " $1 }')
    line "$workload" "$(short <<<"$middle")" "$unit" "$range" "$name" "$(short <<<"$beside")" "$(short <<<"$quotient")"
    printf '{"workload": "%s", "unit": "%s", "median": %s, "runs": [%s], ' \
        "$workload" "$unit" "$middle" "$(figures "$key" | paste -s -d , -)" >>"$work/rows"
    printf '"beside": %s, "beside_median": %s, "ratio": %s}\n' \
        "$quoted" "${beside:-null}" "${quotient:-null}" >>"$work/rows"
}
