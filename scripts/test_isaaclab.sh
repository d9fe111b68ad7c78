#!/usr/bin/env bash
# Runs the tests of the suite droid in Isaac Lab (real simulator, Newton and PhysX on the CPU) in .venv-isaaclab. The
# first use installs Isaac Lab and PhysX, which takes a few minutes and 9 GB. Without Python 3.12, or if Isaac Lab
# cannot be installed, no test runs; if only PhysX cannot be installed, its tests are skipped. Arguments go to pytest.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/scripts/environment.sh"
if ! find_python 3.12 >/dev/null; then
    say "The tests in Isaac Lab are skipped: Isaac Lab needs Python 3.12, which is not installed."
    exit
fi
if ! (ensure_isaaclab isaaclab-physx,dev); then
    say "The tests of PhysX are skipped: PhysX could not be installed."
    if ! (ensure_isaaclab dev); then
        say "The tests in Isaac Lab are skipped: Isaac Lab could not be installed."
        exit
    fi
fi
cd "$ROOT"
exec .venv-isaaclab/bin/python -m pytest -m isaaclab tests/sims "$@"
