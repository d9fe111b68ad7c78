#!/usr/bin/env bash
# Trains a bundled policy from scratch on one GPU: demonstrations, then flow matching (under 30 minutes on an H200).
#   train_bundled.sh [POLICY] [FLAG ...]     POLICY: pi0-droid-tiny (default), pi0-precise-tiny
# After an interruption, run the script again: it continues. The result is written to OUT/policy (default
# train_out/policy, for another policy train_out_POLICY/policy); to ship it, copy that folder over
# headless_eval/policies/bundled/POLICY. Further arguments go to `headless-eval train`.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/scripts/environment.sh"
POLICY=pi0-droid-tiny RESULTS=$ROOT/train_out
if [[ "${1:-}" == [!-]* ]]; then
  POLICY=$1
  RESULTS=${RESULTS}_$POLICY
  shift
fi
ensure_default
exec "$ROOT/.venv/bin/python" -m headless_eval train --policy "$POLICY" --results "${OUT:-$RESULTS}" "$@"
