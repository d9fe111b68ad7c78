#!/usr/bin/env bash
# Checks formatting, lint and types, builds the documentation's site, and runs the tests; the first use installs everything.
# With arguments only pytest runs: scripts/test.sh -m slow, scripts/test.sh tests/quant/test_casts.py -k boolean
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/scripts/environment.sh"
if [ $# -eq 0 ]; then ensure_default dev,docs; else ensure_default dev; fi
cd "$ROOT"
if [ $# -eq 0 ]; then
    .venv/bin/python -m ruff format --check .
    .venv/bin/python -m ruff check .
    .venv/bin/python -m mypy
    NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict --quiet --site-dir .cache/site
fi
exec .venv/bin/python -m pytest "$@"
