# The C side. First the programs as they are, then the same under valgrind, then with AddressSanitizer in the C and in
# the Rust objects, then the ways a C project comes by the library: sub-project, install, pkg-config.
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

# The programs of tests/c/CMakeLists.txt, and where their sources are.
declare -A programs=()
while read -r name source standard; do
    programs[$name]=tests/c/$source:$standard
done < <(sed -n 's/^omemo_program(\([a-z_]*\) "\{0,1\}\([^" ]*\)"\{0,1\} \([0-9]*\))$/\1 \2 \3/p' tests/c/CMakeLists.txt)
[ ${#programs[@]} != 0 ] || die "c: tests/c/CMakeLists.txt names no program"
names=$(printf '%s\n' "${!programs[@]}" | sort)

# A test tells its cases; an example is one case.
program() { # TITLE NAME COMMAND...
    local title=$1 source=${programs[$2]}
    shift 2
    case $source in
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
    IFS=: read -r source standard <<<"${programs[$name]}"
    step "build $name with sanitizers" gcc -std="c$standard" -g -O1 -fno-omit-frame-pointer \
        -fsanitize=address,undefined -fno-sanitize-recover=all -Iinclude "$source" "$archive" "${native[@]}" -pthread \
        -o "$asan/c/$name"
    program "$name with sanitizers" "$name" env ASAN_OPTIONS=detect_leaks=1:halt_on_error=1:strict_string_checks=1 \
        UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 "$asan/c/$name"
done

# -- the store of docs/storage.md, with the library just built --
need_library libsqlite3-dev
page_storage() {
    mkdir -p "$TARGET/page"
    awk '/^```c$/ {p = 1; next} /^```$/ {p = 0} p' docs/storage.md >"$TARGET/page/page_storage_code.h"
    gcc -std=c99 -g -Wall -Wextra -Iinclude -I"$TARGET/page" tests/c/page_storage.c -L"$build/lib" -lomemo -lsqlite3 \
        -Wl,-rpath,"$build/lib" -o "$TARGET/page/page_storage" && "$TARGET/page/page_storage"
}
cases tap "store of docs/storage.md" page_storage

# -- the ways a C project comes by the library --
consumers=$TARGET/consumers
rm -rf "$consumers"
prefix=$consumers/prefix
consume() { # DIRECTORY BUILD FLAGS...
    local source=$1 out=$2
    shift 2
    cmake -S "tests/cmake/$source" -B "$out" -DCMAKE_BUILD_TYPE=Debug "$@" &&
        cmake --build "$out" -j2 && ctest --test-dir "$out" --output-on-failure
}
step "sub-project by add_subdirectory" consume subproject "$consumers/subdirectory" -DOMEMO_CARGO_TARGET_DIR="$TARGET"
step "sub-project by FetchContent" consume subproject "$consumers/fetch" -DHOW=fetch -DOMEMO_CARGO_TARGET_DIR="$TARGET"
step "install" cmake --install "$build" --prefix "$prefix"
step "installed, by find_package" consume installed "$consumers/installed" -DCMAKE_PREFIX_PATH="$prefix"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
step "find_package of this version" cmake -S tests/cmake/installed -B "$consumers/version" -DCMAKE_PREFIX_PATH="$prefix" -DWANTED="$version"
too_new() { ! cmake -S tests/cmake/installed -B "$consumers/too-new" -DCMAKE_PREFIX_PATH="$prefix" -DWANTED=999.0; }
step "find_package refuses a newer version" too_new

files_are_right() { # NAME LIBDIR
    local name=$1 dir=$2
    [ "$(readlink "$dir/lib$name.so")" = "lib$name.so.1" ] &&
        [ "$(readlink "$dir/lib$name.so.1")" = "lib$name.so.1.$version" ] &&
        [ -f "$dir/lib$name.so.1.$version" ] && [ -f "$dir/lib$name.a" ] &&
        readelf -d "$dir/lib$name.so" | grep -F "soname: [lib$name.so.1]"
}
libdir=$(dirname "$(find "$prefix" -name libomemo.a)")
step "names, links and SONAME" files_are_right omemo "$libdir"
by_pkg_config() { # NAME PREFIX-OF-INSTALL LIBDIR
    local out=$consumers/pkgconfig-$1
    mkdir -p "$out"
    PKG_CONFIG_PATH=$2/pkgconfig make -C tests/cmake/pkgconfig NAME="$1" OUT="$out" &&
        "$out/shared" && "$out/static" && ! ldd "$out/static" | grep -F "lib$1"
}
# The .pc file names the prefix given by --prefix (above), or else the one given at configure time (here).
step "pkg-config" by_pkg_config omemo "$libdir"
renamed=$consumers/renamed
with_prefix() { # NAME
    cmake -S . -B "$consumers/build-$1" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_INSTALL_PREFIX="$renamed" -DOMEMO_BUILD_TESTS=OFF \
        -DCMAKE_INSTALL_LIBDIR=lib -DOMEMO_CARGO_TARGET_DIR="$TARGET" -DOMEMO_OUTPUT_NAME="$1" &&
        cmake --build "$consumers/build-$1" -j2 && cmake --install "$consumers/build-$1"
}
step "install under another name" with_prefix montague
step "names, links and SONAME of the other name" files_are_right montague "$renamed/lib"
step "pkg-config with the other name" by_pkg_config montague "$renamed/lib"
finish
