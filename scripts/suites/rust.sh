# The Rust side: format, lints, unit tests, integration tests. The header and python have suites of their own.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

step format cargo fmt --check
step clippy cargo clippy --locked --all-targets -- -D warnings
# Integration tests that belong to another suite are left out here, so that nothing runs twice.
others='header|symbols|interop.*'
read -ra tests < <(for file in tests/*.rs; do
    name=$(basename "$file" .rs)
    [ -e "$file" ] && ! [[ $name =~ ^($others)$ ]] && printf -- '--test %s ' "$name"
done) || true
cases cargo tests cargo test --locked --lib "${tests[@]}"
if grep -rqE '^ *//[/!] ```(rust|no_run|compile_fail|)$' src; then
    cases cargo "examples in comments" cargo test --locked --doc
fi
finish
