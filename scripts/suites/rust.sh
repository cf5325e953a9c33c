# shellcheck shell=bash
# The Rust side: format, lints, unit tests, integration tests. The header, the simulations, the tables, the fault matrices and the peers have
# suites of their own.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$ROOT/scripts/static.sh"

needs rust
static_steps
# Programs, and modules of `repository`, that belong to another suite are left out here, so that nothing runs twice. One
# command, so that both cores compile; no other test may have such a name.
only_in_repository() { ! find src tests -name 'header*.rs' -o -name 'symbols*.rs' | grep -v '^tests/repository/'; }
step "names of modules that the suite header has" only_in_repository
read -ra tests < <(tests_without interop games faults tables soak sim; echo)
cases cargo tests cargo test --locked --no-fail-fast --lib "${tests[@]}" -- --skip header:: --skip header_docs:: --skip symbols::
if grep -rqE '^ *//[/!] ```(rust|no_run|compile_fail|)$' src; then
    cases cargo "examples in comments" cargo test --locked --no-fail-fast --doc
fi
finish
