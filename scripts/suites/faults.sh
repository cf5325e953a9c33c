# shellcheck shell=bash
# Fault matrices (tests/faults): in each flow every call of the storage and every request fails in every way.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

needs faults
# Every eighth entry by default, another eighth with each commit, and fewer through the C face; in the profile of the
# other tests, as in sim.sh.
profile=()
if [ -n "${OMEMO_FULL:-}" ]; then
    profile=(--profile simulation)
elif [ -z "${OMEMO_OFFSET:-}" ]; then
    commit=$(git rev-parse --short=8 HEAD 2>/dev/null) || commit=0
    export OMEMO_OFFSET=$((16#$commit % 40))
fi
cases cargo matrices cargo test --locked --no-fail-fast "${profile[@]}" --test faults -- --nocapture
# The sizes, and what was run of them.
grep -E '^(storage|network|file|C face): [0-9e]' "$(log_of matrices)" || true
finish
