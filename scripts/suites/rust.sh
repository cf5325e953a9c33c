# The Rust side: format, lints, unit tests, integration tests. The header and python have suites of their own.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

need_package gcc gcc libc6-dev # rustc links with it

step format cargo fmt --check
step clippy cargo clippy --locked --all-targets -- -D warnings
# What is linked into the library has one of the licences that deny.toml allows.
licences() {
    local allowed bad
    allowed='MIT|Apache-2\.0|BSD-2-Clause|BSD-3-Clause|ISC|Unicode-3\.0'
    bad=$(cargo tree --locked --edges normal,build --prefix none --format '{l} <- {p}' | sort -u |
        grep -vE "^\(?($allowed)|(OR|/) ?($allowed) <-" || true)
    cargo tree --locked --edges normal,build --prefix none --format '{p}' | sed 's/ (.*//' | sort -u | wc -l
    [ -z "$bad" ] || printf 'not allowed: %s\n' "$bad"
    [ -z "$bad" ]
}
step licences licences
# Programs, and modules of `repository`, that belong to another suite are left out here, so that nothing runs twice.
read -ra tests < <(tests_without interop repository; echo)
cases cargo tests cargo test --locked --no-fail-fast --lib "${tests[@]}"
cases cargo "pages and layers" cargo test --locked --no-fail-fast --test repository -- \
    --skip header:: --skip header_docs:: --skip symbols::
if grep -rqE '^ *//[/!] ```(rust|no_run|compile_fail|)$' src; then
    cases cargo "examples in comments" cargo test --locked --no-fail-fast --doc
fi
finish
