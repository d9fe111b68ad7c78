#!/usr/bin/env bash
# Checks formatting, lint and types, and runs the tests; the first use installs everything.
# With arguments only pytest runs: scripts/test.sh -m slow, scripts/test.sh tests/quant/test_casts.py -k boolean
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/scripts/environment.sh"
ensure_default dev
cd "$ROOT"
if [ $# -eq 0 ]; then
    .venv/bin/python -m ruff format --check .
    .venv/bin/python -m ruff check .
    .venv/bin/python -m mypy
fi
exec .venv/bin/python -m pytest "$@"
