# shellcheck shell=bash
# README, word for word: its commands and the ways of its table in Release, with each compiler as cc, in a fresh clone; and
# what is installed.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

needs readme
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
# Its builds share one directory, and the library is compiled once: no compiler of C has a part in it. Not target/release,
# where the demo and the benchmark build: cargo takes a package by its place in the workspace, and would believe later that
# what was built of the clone is of the sources here.
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
    # shellcheck disable=SC2016 # the backquotes are those of Markdown
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
# Another name is another library to cargo: what it compiles again is not optimised, only linked and installed.
renamed=$readme/renamed
with_prefix() { # NAME
    cmake -S "$clone" -B "$readme/build-$1" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$renamed" \
        -DCMAKE_INSTALL_LIBDIR=lib -DOMEMO_CARGO_FLAGS="--config profile.release.package.omemo.opt-level=0" \
        -DOMEMO_OUTPUT_NAME="$1" &&
        cmake --build "$readme/build-$1" -j2 && cmake --install "$readme/build-$1"
}
step "install under another name" with_prefix montague
step "names, links and SONAME of the other name" files_are_right montague "$renamed/lib"
step "pkg-config with the other name" by_pkg_config gcc montague "$renamed/lib"
finish
