#!/usr/bin/env bash
# The full benchmark: 8 dtypes x 3 modes = 22 configurations, 3 scenes x 5 episodes each, videos off.
# Prints success by precision and the shares of the time; memory and time are in the run's manifest.json.
# Arguments go to `headless-eval run`: benchmarks/full_benchmark.sh --gpu 0 --slots 16
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
exec "$ROOT/scripts/run_headless.sh" \
    --dtypes float32 float16 bfloat16 float8_e4m3 float8_e5m2 int32 uint32 boolean \
    --modes weights_only activations_only both --episodes 5 --videos none "$@"
