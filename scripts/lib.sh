# Shared by the scripts: finds the project, installs what is missing, runs steps and counts cases.
# Source it; it knows nothing of what the suites test.
#
#   need_package COMMAND PACKAGE.. Debian packages for a command that is missing
#   need_library PACKAGE           a Debian package without a command of its own
#   need_python                    target/venv with scripts/requirements.txt; sets PYTHON
#   need_c_peers                   target/interop/peer_omemo_c and peer_signal_c, with the libraries that they are linked with
#   step NAME COMMAND...           one case: passed if the command ends with 0
#   cases KIND NAME COMMAND...     many cases: counts what the command prints (KIND: cargo, tap)
#   finish                         prints "N passed, M failed" and ends the script

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

# install PACKAGE...: by apt-get, after one update for each run of scripts/test.
install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "$SUITE: please install: $*"
    fi
    if [ ! -e "$TARGET/.apt-updated" ] || [ -z "${OMEMO_APT_UPDATED:-}" ]; then
        say "$SUITE: apt-get update"
        apt-get update -qq >"$LOGS/apt.log" 2>&1 || say "$SUITE: apt-get update failed, going on with the old lists"
        touch "$TARGET/.apt-updated"
        export OMEMO_APT_UPDATED=1
    fi
    say "$SUITE: installing $*"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >>"$LOGS/apt.log" 2>&1 || {
        tail -n 20 "$LOGS/apt.log" >&2
        die "$SUITE: could not install $*"
    }
}

need_package() {
    command -v "$1" >/dev/null || install "${@:2}"
}

need_library() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' || install "$1"
}

# need_python: a virtual environment of our own with pinned packages; made anew when the pins change.
need_python() {
    local pins=$ROOT/scripts/requirements.txt venv=$TARGET/venv
    if ! cmp -s "$pins" "$venv/requirements.txt"; then
        need_package python3 python3
        python3 -c 'import ensurepip' 2>/dev/null || install python3-venv
        # omemo-dr comes as source, with a part in C.
        need_package gcc gcc libc6-dev
        python3 -c 'import sysconfig; open(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null || install python3-dev
        say "$SUITE: making target/venv with $(grep -vc '^#' "$pins") packages from PyPI"
        rm -rf "$venv"
        python3 -m venv "$venv" >"$LOGS/python.log" 2>&1 &&
            "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$pins" >>"$LOGS/python.log" 2>&1 || {
            tail -n 20 "$LOGS/python.log" >&2
            die "$SUITE: could not make target/venv"
        }
        cp "$pins" "$venv/requirements.txt"
    fi
    export PYTHON=$venv/bin/python
}

# need_c_peers: tests/interop/peer_c*.c once with libomemo-c, once with libsignal-protocol-c; for tests alone, installed
# nowhere. Built anew when a source is newer.
need_c_peers() {
    local out=$TARGET/interop name
    need_package gcc gcc libc6-dev
    need_package pkg-config pkg-config
    need_library libomemo-c-dev
    need_library libsignal-protocol-c-dev
    need_library libssl-dev
    mkdir -p "$out"
    for name in peer_omemo_c peer_signal_c; do
        local library=libomemo-c define=-UWITH_LIBSIGNAL
        [ $name = peer_omemo_c ] || library=libsignal-protocol-c define=-DWITH_LIBSIGNAL
        [ -z "$(find tests/interop -name 'peer_c*' -newer "$out/$name" 2>/dev/null)" ] && [ -x "$out/$name" ] && continue
        # OpenSSL's HMAC functions are deprecated, not gone.
        # shellcheck disable=SC2046
        run "build $name" gcc -std=c11 -D_POSIX_C_SOURCE=200809L -O1 -g -Wall -Wextra -Werror -Wno-deprecated-declarations \
            $define tests/interop/peer_c*.c $(pkg-config --cflags --libs $library libcrypto) -o "$out/$name" ||
            die "$SUITE: could not build $name"
    done
}

passed() { PASSED=$((PASSED + ${1:-1})); }
failed() { FAILED=$((FAILED + ${1:-1})); }

log_of() { printf '%s/%s-%s.log' "$LOGS" "$SUITE" "$(printf '%s' "$1" | tr -c 'A-Za-z0-9.+\n' '-')"; }

# run NAME COMMAND...: into a log, with one line of progress; shows the log's end when it fails.
run() {
    local name=$1 start=$SECONDS code=0 log
    shift
    log=$(log_of "$name")
    printf '%s: %s ... ' "$SUITE" "$name"
    "$@" >"$log" 2>&1 </dev/null || code=$?
    if [ "$code" = 0 ]; then
        printf 'ok (%s s)\n' $((SECONDS - start))
    else
        printf 'FAILED with %s (%s s)\n' "$code" $((SECONDS - start))
        tail -n "${OMEMO_LOG_LINES:-60}" "$log"
        say "$SUITE: the whole log: ${log#"$ROOT"/}"
    fi
    return $code
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
