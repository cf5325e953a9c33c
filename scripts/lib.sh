# shellcheck shell=bash
# Shared by the scripts: finds the project, installs what is missing, runs steps and counts cases.
# Source it; it knows nothing of what the suites test.
#
#   needs SUITE...                 installs what these need: a suite's name, or check, demo, bench, fuzz, mutants
#   need_c_peers                   target/interop/peer_omemo_c and peer_signal_c, with the libraries that they are linked with
#   step NAME COMMAND...           one case: passed if the command ends with 0
#   cases KIND NAME COMMAND...     many cases: counts what the command prints (KIND: cargo, tap)
#   finish                         prints "N passed, M failed" and ends the script
#   tests_without NAME...          the test programs in tests/ but these, as arguments of cargo test
#
# OMEMO_ACCOUNTS=N has the suite postgres measure that many accounts.
# OMEMO_FULL=1 runs everything that is sampled by default; OMEMO_LANES=1 has scripts/test run one suite after the other.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=$ROOT/target
LOGS=$TARGET/logs
SUITE=${SUITE:-$(basename "$0" .sh)}
PASSED=0
FAILED=0
mkdir -p "$LOGS"
cd "$ROOT"

# One target directory for all suites, whatever the caller's environment says.
export CARGO_TARGET_DIR=$TARGET
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}

say() { printf '%s\n' "$*"; }
die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# The Rust whose rustfmt and clippy the sources are held to. It is pinned here, as rust-toolchain.toml cannot do it
# kindly: with one, rustup downloads this toolchain (or fails) also where "stable" is the same compiler by another name.
TOOLCHAIN=1.95

# need_rust: cargo with rustfmt and clippy, not older than Cargo.toml says; of the pinned toolchain, if rustup has it.
need_rust() {
    local have lowest pinned
    command -v cargo >/dev/null || die "$SUITE: please install Rust $TOOLCHAIN with rustfmt and clippy (https://rustup.rs)"
    have=$(rustc --version | cut -d ' ' -f 2)
    if [ "${have%.*}" != $TOOLCHAIN ] && command -v rustup >/dev/null; then
        pinned=$(rustup toolchain list | sed -n "s/^\(${TOOLCHAIN/./\\.}\(\.[0-9]*\)\?-[^ ]*\).*/\1/p" | tail -n 1)
        if [ -n "$pinned" ]; then
            export RUSTUP_TOOLCHAIN=$pinned
            have=$(rustc --version | cut -d ' ' -f 2)
        fi
    fi
    lowest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    [ "$(printf '%s\n' "$lowest" "$have" | sort -V | head -n 1)" = "$lowest" ] ||
        die "$SUITE: this is Rust $have, libomemo needs $lowest or later"
    if ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
        die "$SUITE: please install rustfmt and clippy (rustup component add rustfmt clippy)"
    fi
    [ "${have%.*}" = $TOOLCHAIN ] ||
        say "$SUITE: this is Rust $have; format and lints are those of $TOOLCHAIN and may differ (rustup toolchain install $TOOLCHAIN)"
}

# What each suite and script needs beside Rust: commands with the Debian packages that bring them, packages without a
# command of their own, Python. Each suite asks for its own, so that it also works alone.
needs() { # SUITE...
    local suite
    MISSING=()
    need_rust
    need_command gcc gcc libc6-dev # rustc links with it
    for suite in "$@"; do
        case $suite in
        check)
            need_command clang-format clang-format
            need_command shellcheck shellcheck
            ;;
        rust) need_command shellcheck shellcheck ;;
        sim | faults | crash | planted | mutants) ;;
        header)
            need_command g++ g++
            need_command clang clang
            need_command nm binutils
            ;;
        c)
            need_build_tools
            need_command valgrind valgrind
            need_command clang-format clang-format
            need_command clang clang
            need_library libsqlite3-dev
            ;;
        postgres)
            need_build_tools
            need_command setpriv util-linux
            need_library libpq-dev
            need_library postgresql
            ;;
        readme)
            need_build_tools
            need_library libsqlite3-dev
            need_command clang clang
            need_command git git
            ;;
        interop)
            need_c_libraries
            need_python
            ;;
        demo)
            need_build_tools
            need_library libsqlite3-dev
            need_python
            ;;
        bench)
            need_build_tools
            need_library libsqlite3-dev
            need_command taskset util-linux
            need_c_libraries
            need_python
            ;;
        fuzz) need_command g++ g++ ;;
        # A suite that brings no line of its own needs no more than the compiler.
        *) [ -f "scripts/suites/$suite.sh" ] || die "no such suite: $suite" ;;
        esac
    done
    install_missing
}

need_build_tools() {
    need_command cmake cmake
    need_command make make
    need_command g++ g++
    need_command pkg-config pkg-config
}

need_c_libraries() {
    need_command pkg-config pkg-config
    need_library libomemo-c-dev
    need_library libsignal-protocol-c-dev
    need_library libssl-dev
}

need_command() { # COMMAND PACKAGE...
    command -v "$1" >/dev/null || MISSING+=("${@:2}")
}

need_library() { # PACKAGE
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' || MISSING+=("$1")
}

# install_missing: what is noted in MISSING, by apt-get, after one update for each run of the outermost script. One at a
# time: the lanes of scripts/test share the machine.
install_missing() {
    local packages=()
    [ ${#MISSING[@]} = 0 ] && return
    mapfile -t packages < <(printf '%s\n' "${MISSING[@]}" | sort -u)
    MISSING=()
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "$SUITE: please install: ${packages[*]}"
    fi
    exec {lock}>"$TARGET/.install-lock"
    flock "$lock"
    if [ -z "${OMEMO_APT_UPDATED:-}" ]; then
        say "$SUITE: apt-get update"
        apt-get update -qq >"$LOGS/apt.log" 2>&1 || say "$SUITE: apt-get update failed, going on with the old lists"
        export OMEMO_APT_UPDATED=1
    fi
    say "$SUITE: installing ${packages[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >>"$LOGS/apt.log" 2>&1 || {
        tail -n 20 "$LOGS/apt.log" >&2
        die "$SUITE: could not install ${packages[*]}"
    }
    exec {lock}>&-
}

# need_python: a virtual environment of our own with pinned packages; made anew when the pins change. Sets PYTHON.
need_python() {
    local pins=$ROOT/scripts/requirements.txt venv=$TARGET/venv
    export PYTHON=$venv/bin/python
    ! cmp -s "$pins" "$venv/requirements.txt" || return 0
    need_command python3 python3
    install_missing
    python3 -c 'import ensurepip' 2>/dev/null || MISSING+=(python3-venv)
    # omemo-dr comes as source, with a part in C.
    python3 -c 'import sysconfig; open(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null || MISSING+=(python3-dev)
    install_missing
    say "$SUITE: making target/venv with $(grep -vc '^#' "$pins") packages from PyPI"
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$pins"; } >"$LOGS/python.log" 2>&1; then
        tail -n 20 "$LOGS/python.log" >&2
        die "$SUITE: could not make target/venv"
    fi
    cp "$pins" "$venv/requirements.txt"
}

# need_c_peers: tests/interop/peer_c*.c once with libomemo-c, once with libsignal-protocol-c; for tests alone, installed
# nowhere. Built anew when a source is newer.
need_c_peers() {
    local out=$TARGET/interop name
    mkdir -p "$out"
    for name in peer_omemo_c peer_signal_c; do
        local library=libomemo-c define=-UWITH_LIBSIGNAL
        [ $name = peer_omemo_c ] || library=libsignal-protocol-c define=-DWITH_LIBSIGNAL
        [ -z "$(find tests/interop -name 'peer_c*' -newer "$out/$name" 2>/dev/null)" ] && [ -x "$out/$name" ] && continue
        # OpenSSL's HMAC functions are deprecated, not gone.
        # shellcheck disable=SC2046 # flags, or none
        run "build $name" gcc -std=c11 -D_POSIX_C_SOURCE=200809L -O1 -g -Wall -Wextra -Werror -Wno-deprecated-declarations \
            $define tests/interop/peer_c*.c $(pkg-config --cflags --libs $library libcrypto) -o "$out/$name" ||
            die "$SUITE: could not build $name"
    done
}

passed() { PASSED=$((PASSED + ${1:-1})); }
failed() { FAILED=$((FAILED + ${1:-1})); }

log_of() { printf '%s/%s-%s.log' "$LOGS" "$SUITE" "$(printf '%s' "$1" | tr -c 'A-Za-z0-9.+\n' '-')"; }

# run NAME COMMAND...: into a log, with one line when it is over; shows the log's end when it fails. A line is written at
# once and begins with the suite, for two suites may write to the same terminal.
run() {
    local name=$1 start=$SECONDS code=0 log
    shift
    log=$(log_of "$name")
    "$@" >"$log" 2>&1 </dev/null || code=$?
    if [ "$code" = 0 ]; then
        say "$SUITE: $name ... ok ($((SECONDS - start)) s)"
    else
        say "$SUITE: $name ... FAILED with $code ($((SECONDS - start)) s)"
        tail -n "${OMEMO_LOG_LINES:-60}" "$log" | sed "s/^/$SUITE| /"
        say "$SUITE: the whole log: ${log#"$ROOT"/}"
    fi
    return "$code"
}

step() {
    if run "$@"; then passed; else failed; fi
}

# cases KIND NAME COMMAND...: a failure that no case owns up to counts as one; so does a run without cases.
cases() {
    local kind=$1 name=$2 code=0 good=0 bad=0 log
    shift
    log=$(log_of "$name")
    run "$@" || code=$?
    case $kind in
    cargo)
        good=$(sed -n 's/^test result: [a-zA-Z]*\. \([0-9]*\) passed; .*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
        bad=$(sed -n 's/^test result: .* passed; \([0-9]*\) failed; .*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
        ;;
    tap)
        good=$(grep -c '^ok ' "$log" || true)
        bad=$(grep -c '^not ok ' "$log" || true)
        ;;
    *) die "cases: unknown kind $kind" ;;
    esac
    if [ $((good + bad)) = 0 ] || { [ "$code" != 0 ] && [ "$bad" = 0 ]; }; then
        bad=$((bad + 1))
        [ "$code" != 0 ] || say "$SUITE: $name ran no case"
    fi
    say "$SUITE: $name: $good cases passed, $bad failed"
    passed "$good"
    failed "$bad"
}

finish() {
    say "$PASSED passed, $FAILED failed"
    [ "$FAILED" = 0 ] && [ "$PASSED" != 0 ]
    exit
}

# tests_without NAME...: selects the test programs of tests/, all but these, for cargo.
tests_without() {
    local name
    for name in tests/*/main.rs; do
        name=$(basename "$(dirname "$name")")
        [[ " $* " == *" $name "* ]] || printf -- '--test %s ' "$name"
    done
}
