# shellcheck shell=bash
# The C side. First the programs as they are, then some of them under valgrind, then all with AddressSanitizer in the C and
# in the Rust objects.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$ROOT/scripts/static.sh"

needs c
step "format of the C sources" c_format

# The programs of tests/c/CMakeLists.txt, and their sources.
declare -A programs=()
while read -r name sources standard; do
    programs[$name]=tests/c/${sources//;/ tests/c/}:$standard
done < <(sed -n 's/^omemo_program(\([a-z_]*\) "\{0,1\}\([^" ]*\)"\{0,1\} \([0-9]*\))$/\1 \2 \3/p' tests/c/CMakeLists.txt)
[ ${#programs[@]} != 0 ] || die "c: tests/c/CMakeLists.txt names no program"
names=$(printf '%s\n' "${!programs[@]}" | sort)

# A test tells its cases; an example is one case.
program() { # TITLE NAME COMMAND...
    local title=$1 sources=${programs[$2]}
    shift 2
    case $sources in
    *examples-c/*) step "$title" "$@" ;;
    *) cases tap "$title" "$@" ;;
    esac
}

build=$TARGET/cmake/dev
step configure cmake --preset dev

# -- AddressSanitizer with leak detection on both sides, UBSan on the C side: first, for it needs nothing of target/debug,
# where another suite may be compiling --
# --target keeps build scripts and procedural macros uninstrumented; gcc brings the runtime (external-clangrt). A directory of
# its own: RUSTC_BOOTSTRAP has macros compiled again, here and then in the next build without it.
host=$(rustc -vV | sed -n 's/^host: //p')
asan=$TARGET/asan
archive=$asan/$host/debug/libomemo.a
step "build with AddressSanitizer" env RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Zexternal-clangrt" \
    cargo rustc --locked --lib --crate-type staticlib --target "$host" --target-dir "$asan"
sanitizer_is_in() { # our own functions, not only the runtime's or std's, must call it
    local undefined
    undefined=$(nm --print-file-name "$archive" 2>/dev/null | grep -E '/?omemo[-.][^:]*:' | grep -cE ' U __asan_report_|U __asan_load|U __asan_store' || true)
    echo "$undefined references to __asan_* from objects of this crate"
    [ "$undefined" -gt 0 ]
}
step "AddressSanitizer is in the Rust objects" sanitizer_is_in
read -ra native < <(sed -n 's/^Libs.private: //p' "$build/omemo.pc")
mkdir -p "$asan/c"
for name in $names; do
    IFS=: read -r list standard <<<"${programs[$name]}"
    read -ra sources <<<"$list"
    # This archive has SQLite inside, where no other may stand beside it.
    [ "$name" != sqlite_store ] || continue
    step "build $name with sanitizers" gcc -std="c$standard" -g -O1 -fno-omit-frame-pointer \
        -fsanitize=address,undefined -fno-sanitize-recover=all -Iinclude "${sources[@]}" "$archive" "${native[@]}" -pthread \
        -o "$asan/c/$name"
    program "$name with sanitizers" "$name" env ASAN_OPTIONS=detect_leaks=1:halt_on_error=1:strict_string_checks=1 \
        UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 "$asan/c/$name"
done

# -- plain, and under valgrind --
step build cmake --build --preset dev -j2
# The preset builds SQLite into the shared library: it hides it, and there is no static one, in which it could not hide.
sqlite_is_hidden() {
    [ "$(nm "$build/lib/libomemo.so" | grep -c ' t sqlite3_')" -gt 100 ] && ! nm -D "$build/lib/libomemo.so" | grep sqlite3_ &&
        [ ! -e "$build/lib/libomemo.a" ]
}
step "SQLite is hidden in the shared library" sqlite_is_hidden
ctest_with_cases() { # what the programs print stands in ctest's own log, as they print it
    local code=0
    ctest --preset dev -j2 || code=$?
    cat "$build/Testing/Temporary/LastTest.log"
    return "$code"
}
cases tap ctest ctest_with_cases
# The contract, wrong use, random calls, and secrets that must be gone: what AddressSanitizer below cannot see of them is
# the use of bytes that nobody wrote. The other programs under valgrind find little that it does not, at 20 times its cost.
# Of the random games a third is enough here.
sampled='contract.*|hostile.*|chances.*|secrets.*'
games=${OMEMO_GAMES:-$([ -n "${OMEMO_FULL:-}" ] && echo 60 || echo 20)}
for name in $names; do
    [ -n "${OMEMO_FULL:-}" ] || [[ $name =~ ^($sampled)$ ]] || continue
    program "$name under valgrind" "$name" env "OMEMO_GAMES=$games" valgrind --quiet --leak-check=full --show-leak-kinds=all \
        --errors-for-leak-kinds=definite,indirect,possible --error-exitcode=99 --fair-sched=yes --child-silent-after-fork=yes \
        "$build/tests/c/$name"
done

# -- warnings: none, whatever level and compiler; the preset "dev" has built with gcc -O0 --
warns_of_nothing() { # COMPILER FLAGS...
    find bench/ours examples-c tests/c -name '*.c' ! -name 'postgres*' -print0 | # those need libpq: postgres.sh
        xargs -0 -n 1 -P 2 "$@" -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Werror -Iinclude -o /dev/null -c
}
for flags in "gcc -O2" "gcc -O3 -DNDEBUG" "clang -O0" "clang -O2" "clang -O3 -DNDEBUG"; do
    # shellcheck disable=SC2086 # a compiler and its flags
    step "no warning by $flags" warns_of_nothing $flags
done

finish
