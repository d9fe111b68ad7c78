#!/usr/bin/env bash
# open-pi-zero's published table of SimplerEnv (visual matching) once more: nine tasks, four checkpoints, float32.
#
#     benchmarks/simpler_published.sh CKPT_DIR [FLAG ...]
#
# CKPT_DIR holds open-pi-zero's bridge_uniform*.pt, bridge_beta*.pt, fractal_uniform*.pt, fractal_beta*.pt (those that
# are missing are left out) and PaliGemma's tokenizer.model. Further flags go to `headless-eval run`: --gpu 0 --slots 16.
# $SIMPLER_ASSETS names the data files. The protocol is open-pi-zero's: 240 episodes of each WidowX task, 1000 of each
# orientation of the can, 2400 of move near, 1080 of each drawer task; WidowX executes 4 of 4 actions, Google's robot 2;
# every episode runs to its limit and counts by its last step. EPISODES=N runs N episodes of each task instead.
# RESULTS is the folder of the runs (results/simpler_published); what is finished there is kept, what is not goes on.
#
# RANDOM_WEIGHTS=1 writes four checkpoints of full size with random weights into CKPT_DIR first (25 GB), to exercise
# everything but success.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -ge 1 ] || { sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2; exit 2; }
CKPT_DIR=$1
shift
RESULTS=${RESULTS:-results/simpler_published}
PYTHON=${PYTHON:-$ROOT/.venv-simpler/bin/python}
mkdir -p "$RESULTS"
SUITE=simpler_bridge SETUP_ONLY=1 "$ROOT/scripts/run_headless.sh"
if [ "${RANDOM_WEIGHTS:-0}" = 1 ]; then
    "$PYTHON" "$ROOT/benchmarks/simpler_published.py" draw "$CKPT_DIR"
fi

evaluate() { # checkpoint, its name, suite, task, episodes, further flags
    local folder=$RESULTS/$2_task_$4
    if [ -f "$folder/manifest.json" ]; then
        grep -q '^  "status": "finished"' "$folder/manifest.json" || RESUME=1 SUITE=$3 RESULTS=$folder "$ROOT/scripts/run_headless.sh"
        return
    fi
    SUITE=$3 CKPT=$1 POLICY_CONFIG=open_pi_zero_${3#simpler_} TASKS=$4 NUM_TRIALS=${EPISODES:-$5} RESULTS=$folder \
        DTYPES=float32 VIDEOS=none "$ROOT/scripts/run_headless.sh" --simpler-success final "${@:6}"
}

for sampler in uniform beta; do
    for checkpoint in "$CKPT_DIR"/bridge_"$sampler"*.pt; do
        [ -f "$checkpoint" ] || continue
        for task in 0 1 2 3; do
            evaluate "$checkpoint" "bridge_$sampler" simpler_bridge $task 240 "$@"
        done
    done
    for checkpoint in "$CKPT_DIR"/fractal_"$sampler"*.pt; do
        [ -f "$checkpoint" ] || continue
        for pair in 0:1000 1:1000 2:1000 3:2400 4:1080 5:1080 6:1080; do
            evaluate "$checkpoint" "fractal_$sampler" simpler_fractal "${pair%:*}" "${pair#*:}" "$@"
        done
    done
done
"$PYTHON" "$ROOT/benchmarks/simpler_published.py" table "$RESULTS" | tee "$RESULTS/table.md"
