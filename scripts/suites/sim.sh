# shellcheck shell=bash
# Random games (tests/games), the decision tables (tests/tables), and whole accounts in a simulated world (tests/sim).
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

needs sim
# A sample by default, in the profile of the other tests: it optimises what computes as well, so that a game takes as long
# as in `simulation`, and the compilation for that takes longer than all these games. OMEMO_GAMES says another number.
profile=()
if [ -n "${OMEMO_FULL:-}" ]; then
    export OMEMO_GAMES=${OMEMO_GAMES:-20000}
    profile=(--profile simulation)
fi
cases cargo games cargo test --locked --no-fail-fast "${profile[@]}" --test games
# One row in a few, or all with OMEMO_FULL. Its figures are in the log.
cases cargo tables cargo test --locked --no-fail-fast "${profile[@]}" --test tables -- --nocapture
# 100 seeds, 1,000 with OMEMO_FULL. Its figures are in the log.
cases cargo sim cargo test --locked --no-fail-fast "${profile[@]}" --test sim -- --nocapture
finish
