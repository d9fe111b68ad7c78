#!/usr/bin/env bash
# Runs the tests of the LIBERO suites in .venv-libero, with the assets in ../shared/libero_assets. The first use
# installs LIBERO. Without the assets no test runs. Arguments go to pytest.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/scripts/environment.sh"
if ! [ -d "$ROOT/../shared/libero_assets" ]; then
    say "The tests of the LIBERO suites are skipped: ../shared/libero_assets does not exist."
    exit
fi
ensure_libero dev
cd "$ROOT"
exec "$VENV/bin/python" -m pytest -m libero tests/sims/libero/test_simulator.py "$@"
