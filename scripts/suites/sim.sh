# shellcheck shell=bash
# Random games in a simulated world (tests/games), the decision tables (tests/tables), two virtual years (tests/soak), and whole
# accounts against an oracle (tests/sim).
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

needs sim
# A sample by default, in the profile of the other tests: it optimises what computes as well, so that a game takes as long
# as in `simulation`, and the compilation for that takes longer than all these games. OMEMO_GAMES says another number.
profile=()
if [ -n "${OMEMO_FULL:-}" ]; then
    export OMEMO_GAMES=${OMEMO_GAMES:-20000}
    profile=(--profile simulation)
fi
# Games; one row of the tables in a few; a life on each face, each in one namespace; 100 seeds. With OMEMO_FULL ten times as
# many games and seeds, all rows, and lives in both namespaces. One command, so that both cores compile; figures are in the log.
cases cargo simulations cargo test --locked --no-fail-fast "${profile[@]}" --test games --test tables --test soak --test sim \
    -- --nocapture
finish
