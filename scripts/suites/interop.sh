# With python-omemo, live: every tests/interop*.rs, which drives target/venv/bin/python in a process of its own.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

need_package gcc gcc libc6-dev
need_python
export OMEMO_PYTHON=$PYTHON
read -ra tests < <(tests_named 'interop.*'; echo)
[ ${#tests[@]} != 0 ] || die "interop: there is no tests/interop*.rs"
cases cargo python-omemo cargo test --locked --no-fail-fast "${tests[@]}" -- --nocapture --include-ignored
finish
