#!/bin/sh
# Runs the repository's Python: `sh stages/python.sh -m stages.train`.
#
# Nobody has to activate .venv, whoever starts DVC. A queued or `--temp` experiment runs in a copy
# of the repository below .dvc/tmp, which has no .venv, so we walk up to the checkout that has one.
# The current folder stays what it was: it comes first on Python's path, so that the copy's own
# `retrace` is imported.
set -eu

# Threads that wait for each other go to sleep soon instead of spinning: beside another busy process
# (a second worker of DVC's queue, say) training is then several times faster. Same results.
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}"

folder=$PWD
while :; do
    if [ -x "$folder/.venv/bin/python" ] && [ -e "$folder/stages/python.sh" ]; then
        exec "$folder/.venv/bin/python" "$@"
    fi
    [ -n "$folder" ] || break
    folder=${folder%/*}
done

# No .venv: an environment that the user activated, else whatever python3 is.
for environment in "${VIRTUAL_ENV:-}" "${CONDA_PREFIX:-}"; do
    if [ -n "$environment" ] && [ -x "$environment/bin/python" ]; then
        exec "$environment/bin/python" "$@"
    fi
done
exec python3 "$@"
