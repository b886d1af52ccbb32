# shellcheck shell=bash
# Sourced by .ci/run: a PostgreSQL server of Debian's packages in a temporary folder, on a free port
# of loopback. Its address is exported as RETRACE_TEST_POSTGRES; it ends with the shell.

postgres_bin() { { ls -d /usr/lib/postgresql/*/bin 2>/dev/null || true; } | sort -V | tail -1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

bin=$(postgres_bin)
if [ -z "$bin" ] && command -v apt-get >/dev/null; then
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends postgresql >/dev/null
    bin=$(postgres_bin)
fi
[ -n "$bin" ] || {
    echo "PostgreSQL is not here and cannot be installed: install it, then run this again" >&2
    exit 1
}

postgres_folder=$(mktemp -d /tmp/retrace_postgres.XXXXXX)
# It refuses to run as root.
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
if [ "$(id -u)" = 0 ]; then chown postgres "$postgres_folder"; fi
port=$(python3 -c 'import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])')
stop_postgres() {
    (cd / && as_postgres "$bin/pg_ctl" --pgdata "$postgres_folder/data" --mode immediate stop) \
        >/dev/null || true
    rm -rf "$postgres_folder"
}
trap stop_postgres EXIT
(
    cd /
    as_postgres "$bin/initdb" --pgdata "$postgres_folder/data" --auth trust --username retrace \
        --encoding UTF8 --locale C.UTF-8 >/dev/null
    # Nobody needs these data after a power cut.
    as_postgres "$bin/pg_ctl" --pgdata "$postgres_folder/data" --wait --log "$postgres_folder/log" \
        --options "-p $port -h 127.0.0.1 -k $postgres_folder -c fsync=off -c max_connections=200" \
        start >/dev/null
)
export RETRACE_TEST_POSTGRES="postgresql://retrace@127.0.0.1:$port/postgres"
