# shellcheck shell=bash
# Accounts in PostgreSQL (examples-c/postgres_store.c): a server of its own below target/, reached by a socket there, two
# processes with 100 accounts each, and the control that a store without locks is found out.
# OMEMO_ACCOUNTS=1000 also measures memory and time for each account (docs/storage.md).
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

needs postgres
bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || bin=$(dirname "$(readlink -f "$(command -v postgres)")")

# -- the server: never root's, whom initdb refuses; its directory has to be within reach, and its socket's name short --
as_server=()
[ "$(id -u)" != 0 ] || as_server=(setpriv --reuid=postgres --regid=postgres --clear-groups)
server=$TARGET/postgres/server
running=$TARGET/postgres/running # process and directory of the server that runs, for the run after one that was killed
mkdir -p "$TARGET/postgres"
if [ ${#server} -gt 80 ] || ! "${as_server[@]}" test -x "$TARGET/postgres"; then
    server=$(mktemp -d /tmp/omemo-postgres.XXXXXX)
fi
journals=$TARGET/postgres/journals
conninfo="host=$server dbname=postgres user=omemo"
postmaster=

# That process, if it is still the server of that directory; then the directory goes.
stop_server() { # PID DIRECTORY
    stop_process "$1" "$2"
    rm -rf "$2" "$running"
}
stop_process() {
    local i
    [ -r "/proc/$1/cmdline" ] && [[ "$(tr '\0' ' ' <"/proc/$1/cmdline")" == *"-D $2/data"* ]] || return 0
    kill -INT "$1" 2>/dev/null || return 0
    for ((i = 0; i < 100; i++)); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -QUIT "$1" 2>/dev/null || true
}
end() {
    local code=$?
    [ -z "$postmaster" ] || stop_server "$postmaster" "$server"
    exit "$code"
}
trap end EXIT
trap 'exit 1' INT TERM HUP

start_server() {
    local i old directory
    if [ -s "$running" ]; then
        read -r old directory <"$running"
        stop_server "$old" "$directory"
    fi
    rm -rf "$server"
    mkdir -p "$server"
    chmod 700 "$server"
    [ ${#as_server[@]} = 0 ] || chown postgres "$server"
    (cd / && "${as_server[@]}" "$bin/initdb" --no-sync --auth=trust --username=omemo --encoding=UTF8 --locale=C -D "$server/data")
    # fsync and synchronous_commit stay what they are: on.
    (cd / && exec "${as_server[@]}" "$bin/postgres" -D "$server/data" -k "$server" -c listen_addresses= -c max_connections=20 \
        -c shared_buffers=32MB) >"$LOGS/postgres-server.log" 2>&1 &
    postmaster=$!
    echo "$postmaster $server" >"$running"
    for ((i = 0; i < 300; i++)); do
        ! "$bin/pg_isready" -q -h "$server" -U omemo -d postgres || return 0
        kill -0 "$postmaster" || return 1
        sleep 0.1
    done
    return 1
}
# `run` makes no process of its own of a function, so that the process id comes back.
step "start of the server" start_server
[ "$FAILED" = 0 ] || finish

# -- the library, and the program with the store as it is --
build=$TARGET/cmake/dev
step configure cmake --preset dev
step build cmake --build --preset dev --target postgres
program=$build/tests/c/postgres
read -ra flags < <(pkg-config --cflags --libs libpq)

warns_of_nothing() { # COMPILER FLAGS...
    find examples-c tests/c -name 'postgres*.c' -print0 |
        xargs -0 -n 1 "$@" -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Werror -Iinclude "${flags[@]}" -o /dev/null -c
}
step "no warning by gcc -O2" warns_of_nothing gcc -O2

cases tap "one process" "$program" games "$conninfo"
rm -rf "$journals"
mkdir -p "$journals"
seed=${OMEMO_SEED:-$RANDOM}
cases tap "two processes, seed $seed" "$program" fleets "$conninfo" "$journals" "$seed"

# -- the control: the same store without lock and without comparison uses keys twice, and the test says so --
control() {
    local spoilt=$TARGET/postgres/spoilt log=$TARGET/postgres/control.log
    rm -rf "$spoilt"
    mkdir -p "$spoilt"
    cp examples-c/postgres_* "$spoilt"
    # shellcheck disable=SC2016 # the dollars are those of SQL
    sed -i -e 's/SELECT pg_try_advisory_lock(hashtextextended(.libomemo . || $1::text, 0))/SELECT $1::text IS NOT NULL/' \
        -e 's/ AND revision = $2"/ AND $2::bigint IS NOT NULL"/' "$spoilt/postgres_pool.c"
    [ "$(diff examples-c/postgres_pool.c "$spoilt/postgres_pool.c" | grep -c '^>')" = 2 ] || return 1
    gcc -std=c11 -g -O1 -Iinclude tests/c/postgres.c "$spoilt"/postgres_*.c "${flags[@]}" -L"$build/lib" -lomemo -pthread \
        -Wl,-rpath,"$build/lib" -o "$TARGET/postgres/control" || return 1
    ! "$TARGET/postgres/control" control "$conninfo" >"$log" || return 1
    cat "$log"
    grep -q '^# keys used twice: [1-9]' "$log"
}
step "without locks keys are used twice" control

[ -z "${OMEMO_ACCOUNTS:-}" ] || {
    cases tap "memory and time" "$program" measure "$conninfo" "$OMEMO_ACCOUNTS"
    grep '^# ' "$(log_of "memory and time")"
}
finish
