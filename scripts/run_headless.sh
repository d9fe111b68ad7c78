#!/usr/bin/env bash
# Evaluates a policy headless, in one process. The first use installs everything.
#
# Without settings, two runs of the bundled policies: a graded task, in which 4 bits fail where float32 does not (the cube
# on a mark to within 5 mm, 15 episodes at float32, int8 and int4); then the 3 DROID scenes, 5 episodes each, at float32,
# bfloat16, float8_e4m3 and boolean weights.
# Settings are environment variables; each stands for a flag of `headless-eval run`. Further arguments are passed on to
# that command. SUITE, SIM, PHYSICS and RESUME also select the Python environment: set these variables, not their flags.
#
#   POLICY          name of a bundled policy, or its folder (default: pi0-droid-tiny, for droid_precise
#                   pi0-precise-tiny)                              --policy
#   CKPT            checkpoint folder, instead of POLICY; a policy of LeRobot brings an environment of its own
#                   (6 GB)                                         --checkpoint
#   POLICY_CONFIG   configuration of the checkpoint                --config
#   ROBOT           robot of a LeRobot checkpoint that does not name it  --robot
#   SUITE           suite of tasks: droid, droid_precise, libero_spatial, libero_object, libero_goal, libero_10,
#                   libero_90, simpler_bridge, simpler_fractal
#                   (also by the name TASK_SUITE)                  --suite
#   LIBERO_ASSETS   folder of assets for the LIBERO suites         --libero-assets
#   SIMPLER_ASSETS  folder of assets for the SimplerEnv suites     --simpler-assets
#   SIM             simulator: mujoco, or isaaclab for droid (installed on first use, 8 GB)  --sim
#   PHYSICS         physics engine of isaaclab: newton, or physx (600 MB more, NVIDIA's licence)  --physics
#   ISAAC_ASSETS    folder with the published DROID scenes, for Isaac Sim  --isaac-assets
#   TASKS           task numbers, "1 2 3"                          --tasks
#   NUM_TRIALS      episodes per task (also by the name EPISODES)  --episodes
#   DTYPES          "float32 bfloat16 float8_e4m3 boolean", or methods such as duquant_w4a8  --dtypes
#   MODES           "weights_only activations_only both"           --modes
#   SEED            seed of the run                                --seed
#   SLOTS           episodes at once                               --slots
#   VIDEOS          all, failures or none                          --videos
#   ENGINE          inference engine: auto, eager, compiled, fused --engine
#   EXECUTION       simulated or native (narrow types, on a GPU)   --execution
#   GPU             CUDA device for the policy, e.g. 0             --gpu
#   RESULTS         folder for the results (default: results/<date>_<time> in the current folder)  --results
#   RESUME=1        continue the interrupted run in RESULTS, by default the newest unfinished run in results/
#                   (with its settings, which other variables override) --resume
#   OPENPI_DUQUANT_...  SCOPE, INCLUDE, EXCLUDE, WBITS_DEFAULT, WBITS, ABITS, BLOCK, PERMUTE, ROW_ROT, ACT_PCT,
#                   CALIB_STEPS, LS, PACKDIR, DEBUG, DRYRUN: compare DuQuant with float32, unless DTYPES is set
#                   (docs/quantization_methods.md)
#   OPENPI_DATA_HOME  openpi's cache of checkpoints and tokenizer (default ~/.cache/openpi)
#   SETUP_ONLY=1    stop after the installation
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/scripts/environment.sh"

case "${1:-}" in
-h | --help)
    sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit
    ;;
esac

SUITE=${SUITE:-${TASK_SUITE:-}}
[ "$SUITE" = "${TASK_SUITE:-$SUITE}" ] || fail "SUITE is $SUITE, TASK_SUITE $TASK_SUITE: set one of them"
NUM_TRIALS=${NUM_TRIALS:-${EPISODES:-}}
[ "$NUM_TRIALS" = "${EPISODES:-$NUM_TRIALS}" ] || fail "NUM_TRIALS is $NUM_TRIALS, EPISODES $EPISODES: set one of them"
[ -z "${POLICY:-}" ] || [ -z "${CKPT:-}" ] || fail "POLICY is $POLICY, CKPT $CKPT: set one of them"
while read -r wrong right; do
    [ -z "${!wrong:-}" ] || say "$wrong=${!wrong} is ignored, as it is no variable of this script: did you mean $right?"
done <<'END'
EPISODE NUM_TRIALS
NUM_EPISODES NUM_TRIALS
TRIALS NUM_TRIALS
TASK TASKS
DTYPE DTYPES
MODE MODES
SLOT SLOTS
VIDEO VIDEOS
CHECKPOINT CKPT
RESULT RESULTS
END

# Prints the newest unfinished run in results/.
unfinished() {
    local journal
    ls -1t results/*/journal.jsonl 2>/dev/null | while IFS= read -r journal; do
        [ -f "${journal%journal.jsonl}manifest.json" ] || continue
        grep -q '^  "status": "finished"' "${journal%journal.jsonl}manifest.json" && continue
        printf '%s\n' "${journal%/journal.jsonl}"
        break
    done || true
}
# kept NAME: prints a setting of the run to continue; prints nothing if the setting is not text.
kept() { [ -z "$RUN" ] || sed -n 's/^    "'"$1"'": "\(.*\)",\{0,1\}$/\1/p' "$RUN/manifest.json" 2>/dev/null || true; }

RUN=
if [ "${RESUME:-0}" = 1 ]; then
    RUN=${RESULTS:-$(unfinished)}
    [ -n "$RUN" ] || fail "RESUME=1, but results/ holds no run that is not finished; set RESULTS to the run's folder"
fi
checkpoint=${CKPT:-$(kept checkpoint)}
if [[ $checkpoint == gs://* ]]; then checkpoint=${OPENPI_DATA_HOME:-${HOME:-}/.cache/openpi}/${checkpoint#gs://}; fi
# of_lerobot PLACE: whether a policy or checkpoint needs LeRobot's package, which π0 and π0.5 do not.
of_lerobot() {
    local folder=${1#lerobot:} cache=${HF_HUB_CACHE:-${HF_HOME:-${HOME:-}/.cache/huggingface}/hub} stated=config.json
    [ "$folder" = "$1" ] || return 0
    if ! [ -d "$folder" ] && [[ $folder == */* ]]; then stated="snapshots/*/config.json" folder=$cache/models--${folder/\//--}; fi
    # shellcheck disable=SC2086  # the pattern is meant to match
    set -- "$folder"/$stated
    grep -qs '"input_features"' "$1" && ! grep -qsE '"type": *"(pi0|pi05)"' "$1"
}

extras=
if [ -n "$checkpoint" ] && [ -d "$checkpoint/params" ]; then extras=openpi; fi # reads JAX's format
lerobot=
if of_lerobot "${checkpoint:-${POLICY:-$(kept policy)}}"; then lerobot=lerobot; fi
case "$lerobot ${SIM:-$(kept sim)} ${SUITE:-$(kept suite)}" in
lerobot\ isaaclab*) fail "LeRobot's policies and Isaac Lab need different Pythons: leave out SIM=isaaclab" ;;
lerobot*libero_*) ensure_lerobot_libero ;;
lerobot*simpler_*)
    ensure_lerobot simpler
    ensure_vulkan
    ;;
lerobot*) ensure_lerobot ;;
" isaaclab"*)
    if [[ ${PHYSICS:-$(kept physics)} == physx* ]]; then extras=isaaclab-physx${extras:+,$extras}; fi
    ensure_isaaclab $extras
    ;;
*libero_*) ensure_libero $extras ;;
*simpler_*) ensure_simpler $extras ;;
*) ensure_default $extras ;;
esac
[ "${SETUP_ONLY:-0}" = 1 ] && exit
if [[ $SUITE == libero_* && -z "${POLICY:-}${CKPT:-}$RUN" && ! "$*" =~ --(policy|checkpoint|resume|help) ]]; then
    say "Policies for LIBERO:"
    say "  CKPT=DIR POLICY_CONFIG=pi05_libero  a checkpoint of openpi; or POLICY_CONFIG=pi0_libero"
    say "  CKPT=DIR  a checkpoint of LeRobot or headless-eval, which contains its configuration"
    say "  SUITE=libero_object POLICY=pi0-libero-tiny TASKS=7  the bundled policy, trained only on that task"
    say "  POLICY=zero, POLICY=random  baselines without a model: hold still, move at random"
    fail "SUITE=$SUITE needs a policy: set CKPT or POLICY"
fi

if [[ $SUITE == simpler_* && -z "${POLICY:-}${CKPT:-}$RUN" && ! "$*" =~ --(policy|checkpoint|resume|help) ]]; then
    say "A policy for SimplerEnv is one of:"
    say "  CKPT=FILE.pt POLICY_CONFIG=open_pi_zero_${SUITE#simpler_}  a checkpoint of open-pi-zero"
    say "  POLICY=zero, POLICY=random  what knows nothing: holds still, moves at random"
    fail "SUITE=$SUITE needs a policy: set CKPT or POLICY"
fi

arguments=()
one() { if [ -n "${!2:-}" ]; then arguments+=("$1" "${!2}"); fi; }
many() {
    if [ -n "${!2:-}" ]; then
        local values
        read -ra values <<<"${!2}"
        arguments+=("$1" "${values[@]}")
    fi
}
one --policy POLICY
one --checkpoint CKPT
one --config POLICY_CONFIG
one --robot ROBOT
one --suite SUITE
[[ $SUITE != libero_* ]] || one --libero-assets LIBERO_ASSETS
[[ $SUITE != simpler_* ]] || one --simpler-assets SIMPLER_ASSETS
one --sim SIM
one --physics PHYSICS
one --isaac-assets ISAAC_ASSETS
many --tasks TASKS
one --episodes NUM_TRIALS
many --dtypes DTYPES
many --modes MODES
one --seed SEED
one --slots SLOTS
one --videos VIDEOS
one --engine ENGINE
one --execution EXECUTION
one --gpu GPU
if [ -n "$RUN" ]; then one --resume RUN; else one --results RESULTS; fi
if [ $# = 0 ] && [ ${#arguments[@]} = 0 ]; then
    "$VENV/bin/python" -m headless_eval run --suite droid_precise --tasks place_5mm --episodes 15 \
        --variant float32 int8_both int4_both --results "results/$(date +%Y%m%d_%H%M%S)_graded"
fi
exec "$VENV/bin/python" -m headless_eval run "${arguments[@]}" "$@"
