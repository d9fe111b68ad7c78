#!/usr/bin/env bash
# Runs the tests that need LeRobot's package in .venv-lerobot. The first use installs it: about 3 GB to download, 6 GB of
# disk, five minutes. Arguments go to pytest.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/scripts/environment.sh"
ensure_lerobot dev
cd "$ROOT"
exec "$VENV/bin/python" -m pytest -m lerobot tests/policies/lerobot tests/export tests/training "$@"
