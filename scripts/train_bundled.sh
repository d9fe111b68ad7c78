#!/usr/bin/env bash
# Trains the bundled policy from scratch on one GPU: demonstrations, then flow matching (under 30 minutes on an
# H200). After an interruption, run the script again: it continues. The result is written to OUT/policy (default
# train_out/policy); to ship it, copy that folder over headless_eval/policies/bundled/pi0-droid-tiny.
# Further arguments go to `headless-eval train`.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/scripts/environment.sh"
ensure_default
exec "$ROOT/.venv/bin/python" -m headless_eval train --policy pi0-droid-tiny --results "${OUT:-$ROOT/train_out}" "$@"
