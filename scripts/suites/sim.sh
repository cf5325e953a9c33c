# shellcheck shell=bash
# Random games in a simulated world (tests/games), in the profile that is made for them.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

needs sim
# Sampled by default; OMEMO_GAMES says another number.
[ -z "${OMEMO_FULL:-}" ] || export OMEMO_GAMES=${OMEMO_GAMES:-20000}
cases cargo games cargo test --locked --no-fail-fast --profile simulation --test games
finish
