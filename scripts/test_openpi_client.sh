#!/usr/bin/env bash
# Runs the tests of `serve` and of remote policies against the real package openpi-client, which needs NumPy 1 and so an
# environment of its own, .venv-openpi-client; sets itself up on first use. Arguments go to pytest.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/scripts/environment.sh"
cd "$ROOT"
export OPENPI_CLIENT_PYTHON=${OPENPI_CLIENT_PYTHON:-$ROOT/.venv-openpi-client/bin/python}
if ! "$OPENPI_CLIENT_PYTHON" -c 'from openpi_client import websocket_client_policy' 2>/dev/null; then
    python=$(find_python "3.11 3.12") || fail "openpi-client needs Python 3.11 or 3.12 with venv; set PYTHON to its path"
    say "Installing openpi-client into .venv-openpi-client (once, some seconds) ..."
    "$python" -m venv --clear .venv-openpi-client
    # It does not name typing_extensions, which it imports.
    VENV=$ROOT/.venv-openpi-client pip_install openpi-client==0.1.2 typing_extensions ||
        fail "openpi-client could not be installed"
fi
ensure_default dev
exec "$VENV/bin/python" -m pytest -m openpi_client tests/runs/test_openpi_client.py "$@"
