# The C side. First the programs as they are, then the same under valgrind, then with AddressSanitizer in the C and in
# the Rust objects, then what README tells a user to do, to the letter, with gcc and with clang.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

need_package cmake cmake
need_package make make
need_package gcc gcc libc6-dev
need_package g++ g++
need_package pkg-config pkg-config
need_package valgrind valgrind
need_package clang-format clang-format

c_format() { find bench examples-c tests -name '*.c' -o -name '*.cpp' | xargs clang-format --dry-run -Werror; }
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

# -- plain, and under valgrind --
build=$TARGET/cmake/dev
step configure cmake --preset dev
step build cmake --build --preset dev -j2
step ctest ctest --preset dev
for name in $names; do
    program "$name" "$name" "$build/tests/c/$name"
done
for name in $names; do
    program "$name under valgrind" "$name" valgrind --quiet --leak-check=full --show-leak-kinds=all \
        --errors-for-leak-kinds=definite,indirect,possible --error-exitcode=99 --fair-sched=yes \
        "$build/tests/c/$name"
done

# -- AddressSanitizer with leak detection on both sides, UBSan on the C side --
# --target keeps build scripts and procedural macros uninstrumented; gcc brings the runtime (external-clangrt).
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
    step "build $name with sanitizers" gcc -std="c$standard" -g -O1 -fno-omit-frame-pointer \
        -fsanitize=address,undefined -fno-sanitize-recover=all -Iinclude "${sources[@]}" "$archive" "${native[@]}" -pthread \
        -o "$asan/c/$name"
    program "$name with sanitizers" "$name" env ASAN_OPTIONS=detect_leaks=1:halt_on_error=1:strict_string_checks=1 \
        UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 "$asan/c/$name"
done

# -- warnings: none, whatever level and compiler; the preset "dev" has built with gcc -O0 --
need_package clang clang
need_library libsqlite3-dev
mkdir -p "$TARGET/page"
awk '/^```c$/ {p = 1; next} /^```$/ {p = 0} p' docs/storage.md >"$TARGET/page/page_storage_code.h"
warns_of_nothing() { # COMPILER FLAGS...
    find bench/message.c examples-c tests/c -maxdepth 2 -name '*.c' -print0 |
        xargs -0 -n 1 -P 2 "$@" -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Werror -Iinclude -I"$TARGET/page" -o /dev/null -c
}
for flags in "gcc -O2" "gcc -O3 -DNDEBUG" "clang -O0" "clang -O2" "clang -O3 -DNDEBUG"; do
    # shellcheck disable=SC2086
    step "no warning by $flags" warns_of_nothing $flags
done

# -- the store of docs/storage.md, with the library just built --
page_storage() {
    gcc -std=c99 -g -Wall -Wextra -Iinclude -I"$TARGET/page" tests/c/page_storage.c -L"$build/lib" -lomemo -lsqlite3 \
        -Wl,-rpath,"$build/lib" -o "$TARGET/page/page_storage" && "$TARGET/page/page_storage"
}
cases tap "store of docs/storage.md" page_storage

# -- README, word for word: its commands and the ways of its table, with each compiler as cc, in a fresh clone --
need_package git git
readme=$TARGET/readme
clone=$readme/libomemo
fresh_clone() {
    rm -rf "$readme"
    mkdir -p "$clone"
    if [ ! -e .git ]; then # an unpacked archive is as fresh
        tar -c --exclude=./target --exclude=./build . | tar -x -C "$clone"
        return
    fi
    git clone --quiet . "$clone" &&
        # What is not committed yet is tested as well.
        { git diff --name-only --diff-filter=d -z HEAD && git ls-files --others --exclude-standard -z; } |
        xargs -0 -r cp --parents -t "$clone"
}
step "fresh clone" fresh_clone
# Its builds have a directory of their own: cargo takes a package by its place in the workspace, and would believe later
# that what was built of the clone is of the sources here.
export CARGO_TARGET_DIR=$TARGET/readme-cargo
readme_commands() {
    awk '/^## / {here = ($0 == "## Building and linking")} here && /^```/ {p = !p; next} here && p' "$clone/README.md"
}
with_compiler() { # COMPILER COMMAND...: with cc and c++ of this compiler first in PATH, as where it is the system's own
    PATH=$readme/$1-bin:$PATH "${@:2}"
}
as_readme_says() ( # COMPILER: its commands; another prefix is all that differs
    commands=$(readme_commands)
    [ "$(grep -c 'cmake ' <<<"$commands")" -ge 3 ] && [ "$(grep -o /usr/local <<<"$commands" | wc -l)" = 1 ] &&
        rm -rf "$clone/build" && cd "$clone" &&
        with_compiler "$1" bash -euxo pipefail -c "${commands//\/usr\/local/$readme/$1}"
)
for_use_only() { # COMPILER: built by this compiler; no tests, and no warning that is an error
    grep -E "^CMAKE_C_COMPILER:[A-Z]*=$readme/$1-bin/cc\$" "$clone/build/CMakeCache.txt" &&
        [ ! -e "$clone/build/tests" ] && ! grep -r -e -Werror "$clone/build" --include=flags.make
}
by_command() ( # COMPILER: the row "pkg-config", with a whole program as the client
    out=$readme/$1-client
    command=$(sed -n 's/^| pkg-config | `\(.*\)` |$/\1/p' "$clone/README.md")
    mkdir -p "$out" && cp examples-c/quickstart.c "$out/client.c" && cd "$out" && [ -n "$command" ] &&
        PKG_CONFIG_PATH=$readme/$1/lib/pkgconfig with_compiler "$1" bash -euxo pipefail -c "$command" &&
        LD_LIBRARY_PATH=$readme/$1/lib ./a.out # in place of ldconfig
)
consume() { # COMPILER DIRECTORY NAME FLAGS...
    local out=$readme/$1-$3
    with_compiler "$1" cmake -S "$clone/tests/cmake/$2" -B "$out" -DCMAKE_BUILD_TYPE=Release "${@:4}" &&
        with_compiler "$1" cmake --build "$out" -j2 && ctest --test-dir "$out" --output-on-failure &&
        [ ! -e "$out/omemo/tests" ] && ! grep -r -e -Werror "$out" --include=flags.make
}
by_pkg_config() { # COMPILER NAME LIBDIR
    local out=$readme/$1-pkgconfig-$2
    mkdir -p "$out"
    PKG_CONFIG_PATH=$3/pkgconfig with_compiler "$1" make -C "$clone/tests/cmake/pkgconfig" NAME="$2" OUT="$out" &&
        "$out/shared" && "$out/static" && ! ldd "$out/static" | grep -F "lib$2"
}
for compiler in gcc clang; do
    mkdir -p "$readme/$compiler-bin"
    ln -sf "$(command -v $compiler)" "$readme/$compiler-bin/cc"
    ln -sf "$(command -v ${compiler/%gcc/g}++)" "$readme/$compiler-bin/c++"
    step "README with $compiler: build and install" as_readme_says $compiler
    step "README with $compiler: no tests, no -Werror" for_use_only $compiler
    step "README with $compiler: pkg-config" by_command $compiler
    step "README with $compiler: pkg-config, shared and static" by_pkg_config $compiler omemo "$readme/$compiler/lib"
    step "README with $compiler: find_package" consume $compiler installed installed -DCMAKE_PREFIX_PATH="$readme/$compiler"
    step "README with $compiler: add_subdirectory" consume $compiler subproject subdirectory
    step "README with $compiler: FetchContent" consume $compiler subproject fetch -DHOW=fetch
done

# -- what README does not say of the installed files --
prefix=$readme/gcc
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
wants() { # NAME VERSION
    cmake -S tests/cmake/installed -B "$readme/$1" -DCMAKE_PREFIX_PATH="$prefix" -DWANTED="$2"
}
step "find_package of this version" wants version "$version"
too_new() { ! wants too-new 999.0; }
step "find_package refuses a newer version" too_new

files_are_right() { # NAME LIBDIR
    local name=$1 dir=$2
    [ "$(readlink "$dir/lib$name.so")" = "lib$name.so.1" ] &&
        [ "$(readlink "$dir/lib$name.so.1")" = "lib$name.so.1.$version" ] &&
        [ -f "$dir/lib$name.so.1.$version" ] && [ -f "$dir/lib$name.a" ] &&
        readelf -d "$dir/lib$name.so" | grep -F "soname: [lib$name.so.1]"
}
step "names, links and SONAME" files_are_right omemo "$prefix/lib"
# The .pc file names the prefix given by --prefix (above), or else the one given at configure time (here).
renamed=$readme/renamed
with_prefix() { # NAME
    cmake -S . -B "$readme/build-$1" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_INSTALL_PREFIX="$renamed" -DCMAKE_INSTALL_LIBDIR=lib \
        -DOMEMO_CARGO_TARGET_DIR="$TARGET" -DOMEMO_OUTPUT_NAME="$1" &&
        cmake --build "$readme/build-$1" -j2 && cmake --install "$readme/build-$1"
}
step "install under another name" with_prefix montague
step "names, links and SONAME of the other name" files_are_right montague "$renamed/lib"
step "pkg-config with the other name" by_pkg_config gcc montague "$renamed/lib"
finish
