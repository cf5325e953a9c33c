# shellcheck shell=bash
# The games of tests/games against faults that are planted on purpose: each has to turn games red, and without one they
# stay green. Builds the library a second time, so that it runs only with OMEMO_FULL=1 or by its name.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

needs planted

step "planted faults" scripts/planted
finish
