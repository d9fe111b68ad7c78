#!/usr/bin/env bash
# Runs the tests of the suite droid in Isaac Lab (real simulator, Newton on the CPU) in .venv-isaaclab; sets itself up
# on first use, which takes a few minutes and 8 GB. Where there is no Python 3.12, or Isaac Lab cannot be installed,
# nothing is run. Arguments go to pytest.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/scripts/environment.sh"
if ! find_python 3.12 >/dev/null; then
    say "The tests in Isaac Lab are skipped: it needs Python 3.12, which is not there."
    exit
fi
if ! (ensure_isaaclab dev); then
    say "The tests in Isaac Lab are skipped: it could not be installed."
    exit
fi
cd "$ROOT"
exec .venv-isaaclab/bin/python -m pytest -m isaaclab tests/sims "$@"
