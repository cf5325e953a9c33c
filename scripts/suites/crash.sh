# shellcheck shell=bash
# The store in a file (tests/crash): failing calls, missing memory, power cuts, kill -9, second processes, threads, damage.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

needs crash
# A part by default, another one with each commit; in the profile of the other tests, as in sim.sh.
profile=()
if [ -n "${OMEMO_FULL:-}" ]; then
    profile=(--profile simulation)
elif [ -z "${OMEMO_OFFSET:-}" ]; then
    commit=$(git rev-parse --short=8 HEAD 2>/dev/null) || commit=0
    export OMEMO_OFFSET=$((16#$commit % 40))
fi
cases cargo crash cargo test --locked --no-fail-fast "${profile[@]}" --test crash -- --nocapture
# What was done, and how much of it.
grep -E '^(power|failures|killed|damaged|threads): ' "$(log_of crash)" || true
finish
