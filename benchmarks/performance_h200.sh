#!/usr/bin/env bash
# Measures full-size pi0.5 on one GPU with random weights: the tables of docs/performance.md.
#
#     benchmarks/performance_h200.sh OUT [PART ...]       PART: fused, native, eager, simulated, profile; default: all
#
# Needs 80 GB of GPU memory, torch with CUDA, and this package's dependencies; $PYTHON names the interpreter. Measurements
# that fail or take too long are left out, and the others continue. MINUTES limits each of the two tables of simulated
# precisions (default 3). OUT gets eight files.
set -uo pipefail
OUT=$(mkdir -p "$1" && cd "$1" && pwd)
shift
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PARTS=${*:-fused native eager profile simulated}
PYTHON=${PYTHON:-python3}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
MODEL=(--gpu 0 --config pi05_droid --random-weights --views 2 --prompt-tokens 64)

bench() { # seconds allowed, then flags
    local seconds=$1
    shift
    echo "== bench $*"
    timeout "$seconds" "$PYTHON" -m headless_eval bench "${MODEL[@]}" --results "$WORK/bench" --append "$@" ||
        echo "== exit status $?"
}

{
    for part in $PARTS; do
        case $part in
        fused)
            bench 120 --compute bfloat16 --dtypes float32 --engines fused --batch 1 8 32
            bench 90 --compute float16 float32 --dtypes float32 --engines fused
            ;;
        native)
            bench 120 --compute bfloat16 --dtypes float8_e4m3 int8 --executions native --engines fused --batch 1 32
            ;;
        eager) bench 60 --compute float32 bfloat16 --dtypes float32 --engines eager --repeats 10 ;;
        simulated)
            for compute in bfloat16 float32; do
                bench 300 --compute $compute --engines compiled --repeats 10 --minutes "${MINUTES:-3}" \
                    --dtypes float32 float8_e4m3 boolean int32 int8 bfloat16 float16 float8_e5m2 int4 uint32
            done
            ;;
        profile)
            echo "== profile"
            timeout 120 "$PYTHON" -m headless_eval profile "${MODEL[@]}" --compute bfloat16 --engine fused \
                --results "$WORK/profile" || echo "== exit status $?"
            ;;
        esac
    done
} 2>&1 | tee "$OUT/log.txt"

cp "$WORK"/bench/* "$OUT"/ 2>/dev/null
if [ -d "$WORK/profile" ]; then
    mv "$WORK"/profile/profile.{md,png} "$OUT"/ 2>/dev/null
    "$PYTHON" -m zipfile -c "$OUT/profile.zip" "$WORK"/profile/*
fi
ls -l "$OUT"
