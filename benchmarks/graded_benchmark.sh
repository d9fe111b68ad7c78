#!/usr/bin/env bash
# The graded benchmark: each family of droid_precise at a level that the bundled policy solves in most episodes, 10
# episodes each, at float32, int8 and int4, and at W4A8 by rounding and by DuQuant.
# Arguments go to `headless-eval run`: benchmarks/graded_benchmark.sh --results results/graded
# Then: python docs/figures.py DIR; headless-eval compare DIR:rtn_w4a8 DIR:duquant_w4a8
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
exec "$ROOT/scripts/run_headless.sh" --suite droid_precise \
    --tasks place_5mm stack_7mm insert_2mm thread_3mm carry_6deg press_10mm --episodes 10 \
    --variant float32 int8_both int4_both rtn_w4a8 duquant_w4a8 --slots 8 --videos failures "$@"
