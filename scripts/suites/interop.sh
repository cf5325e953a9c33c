# shellcheck shell=bash
# With other implementations, live: the program tests/interop, which drives python-omemo and omemo-dr (target/venv),
# libomemo-c and libsignal-protocol-c (target/interop), each in a process of its own.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

needs interop
need_c_peers
export OMEMO_PYTHON=$PYTHON
cases cargo peers cargo test --locked --no-fail-fast --test interop -- --nocapture
# The program that scripts/demo shows, with the library that was built just now.
demo() {
    cargo build --locked &&
        gcc -std=c99 -Wall -Wextra -Werror -Iinclude examples-c/interop_demo.c \
            -o "$TARGET/interop/interop_demo" "$TARGET/debug/libomemo.a" -lpthread -ldl -lm &&
        "$TARGET/interop/interop_demo" "$PYTHON" tests/interop/peer_python.py
}
step "the demo with python-omemo" demo
finish
