#!/usr/bin/env bash
# Runs the tests of the SimplerEnv suites in .venv-simpler, with the assets in ../shared/simpler_assets; sets itself up
# on first use. Without the assets nothing is run. Arguments go to pytest: `-m simpler` runs the slow ones too, all
# tasks against the original simulator.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/scripts/environment.sh"
if ! [ -d "$ROOT/../shared/simpler_assets" ]; then
    say "The tests of the SimplerEnv suites are skipped: ../shared/simpler_assets is not there."
    exit
fi
ensure_simpler dev
cd "$ROOT"
exec "$VENV/bin/python" -m pytest -m "simpler and not slow" tests/sims/simpler/test_simpler.py "$@"
