# shellcheck shell=bash
# Faults that are planted on purpose, each against the check that is meant to find it: with the fault it has to be red, and
# without any green. Builds the library a second time, so that it runs only with OMEMO_FULL=1 or by its name.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

needs planted

cases tap "planted faults" scripts/planted
finish
