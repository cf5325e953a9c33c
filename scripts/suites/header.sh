# shellcheck shell=bash
# The header: it is what cbindgen makes of the sources, its functions are the exported ones, and every compiler takes it.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

needs header
cases cargo "header and symbols" cargo test --locked --no-fail-fast --test repository -- header:: header_docs:: symbols::

# Compiled alone and twice, in two files of one program, which is linked and run.
out=$TARGET/header
mkdir -p "$out"
strict=(-Wall -Wextra -Wpedantic -Wconversion -Werror)
compile() { # COMPILER LANGUAGE STANDARD
    local program=$out/$1-$3
    "$1" -x "$2" "-std=$3" "${strict[@]}" -Iinclude tests/c/header/first.c tests/c/header/second.c -o "$program" && "$program"
}
for standard in c99 c11 c17; do
    for compiler in gcc clang; do
        step "$compiler as $standard" compile $compiler c $standard
    done
done
for standard in c++11 c++17 c++20; do
    for compiler in g++ clang++; do
        step "$compiler as $standard" compile $compiler c++ $standard
    done
done

# The C in the pages is C of this header.
page_compiles() { # PAGE
    local code
    code=$out/$(basename "$1").c
    awk '/^```c$/ {p = 1; next} /^```$/ {p = 0} p' "$1" >"$code"
    grep -q '#include <omemo.h>' "$code" && gcc -std=c99 "${strict[@]}" -Wno-missing-prototypes -Iinclude -c "$code" -o "$code.o"
}
step "C of README.md" page_compiles README.md
finish
