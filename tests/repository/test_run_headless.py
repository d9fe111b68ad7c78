"""The script that users start: what its variables become, and in which environment."""

import json
import os
import subprocess

import pytest
from paths import ROOT


@pytest.fixture
def script(tmp_path):
    """The script in a checkout whose set-up does nothing and whose Python prints its arguments."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "run_headless.sh").write_bytes((ROOT / "scripts" / "run_headless.sh").read_bytes())
    (scripts / "environment.sh").write_text(
        'say() { printf "%s\\n" "$*" >&2; }\n'
        'fail() { say "error: $*"; exit 2; }\n'
        "ensure_default() { VENV=$ROOT/default${1:+_$1}; }\n"
        "ensure_libero() { VENV=$ROOT/libero${1:+_$1}; }\n"
        "ensure_isaaclab() { VENV=$ROOT/isaaclab${1:+_$1}; }\n"
        "ensure_lerobot() { VENV=$ROOT/lerobot${1:+_$1}; }\n"
        "ensure_lerobot_libero() { VENV=$ROOT/lerobot_libero; }\n"
        "ensure_vulkan() { :; }\n"
    )
    for name in (
        *("default", "libero", "isaaclab", "default_openpi", "libero_openpi"),
        *("isaaclab_isaaclab-physx", "isaaclab_isaaclab-physx,openpi"),
        *("lerobot", "lerobot_libero", "lerobot_simpler"),
    ):
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        python.chmod(0o755)

    def run(*arguments, **variables):
        return subprocess.run(
            ["bash", str(scripts / "run_headless.sh"), *arguments],
            env={"PATH": "/usr/bin:/bin", **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return run


def test_the_scripts_variables_are_flags_in_liberos_environment(script):
    done = script(
        "--quiet",
        TASK_SUITE="libero_goal",
        NUM_TRIALS="50",
        CKPT="/my/checkpoint",
        POLICY_CONFIG="pi05_libero",
        SEED="3",
        LIBERO_ASSETS="/my/assets",
    )
    assert done.stdout.strip() == (
        "libero -m headless_eval run --checkpoint /my/checkpoint --config pi05_libero --suite libero_goal "
        "--libero-assets /my/assets --episodes 50 --seed 3 --quiet"
    )


def test_without_settings_a_graded_task_is_run_before_the_scenes(script):
    graded, scenes = script().stdout.splitlines()
    assert graded.startswith("default -m headless_eval run --suite droid_precise --tasks place_5mm ")
    assert graded.endswith("_graded")
    assert scenes == "default -m headless_eval run"
    assert script(SEED="3").stdout.splitlines() == ["default -m headless_eval run --seed 3"]
    assert script("--quiet").stdout.splitlines() == ["default -m headless_eval run --quiet"]


def test_the_script_says_what_to_set_without_a_policy(script):
    done = script(SUITE="libero_spatial")
    assert done.returncode == 2
    assert not done.stdout
    bundled = "SUITE=libero_object POLICY=pi0-libero-tiny TASKS=7"
    for word in ("CKPT", "POLICY_CONFIG", "pi05_libero", "POLICY=zero", bundled):
        assert word in done.stderr
    assert script("--policy", "zero", SUITE="libero_spatial").returncode == 0
    assert script(SUITE="libero_spatial", POLICY="random").returncode == 0
    assert script(SUITE="libero_spatial", TASK_SUITE="libero_goal").returncode == 2


def test_physx_brings_its_extra(script, tmp_path):
    assert script(SIM="isaaclab").stdout.startswith("isaaclab -m headless_eval run --sim isaaclab")
    done = script(SIM="isaaclab", PHYSICS="physx")
    assert done.stdout.strip() == (
        "isaaclab_isaaclab-physx -m headless_eval run --sim isaaclab --physics physx"
    )
    (tmp_path / "jax" / "params").mkdir(parents=True)
    done = script(SIM="isaaclab", PHYSICS="physx", CKPT="jax")
    assert done.stdout.startswith("isaaclab_isaaclab-physx,openpi ")


def test_a_checkpoint_of_jax_brings_the_extra_that_reads_it(script, tmp_path):
    (tmp_path / "jax" / "params").mkdir(parents=True)
    cached = tmp_path / "cache" / "openpi-assets" / "pi05_droid" / "params"
    cached.mkdir(parents=True)
    assert script(CKPT="jax").stdout.startswith("default_openpi ")
    address = "gs://openpi-assets/pi05_droid"
    done = script(CKPT=address, SUITE="libero_goal", OPENPI_DATA_HOME=str(tmp_path / "cache"))
    assert done.stdout.startswith("libero_openpi ")
    assert script(CKPT="elsewhere").stdout.startswith("default ")


def test_a_policy_is_named_once_and_so_is_the_number_of_episodes(script):
    done = script(POLICY="zero", CKPT="/my/checkpoint")
    assert done.returncode == 2
    assert done.stderr == "error: POLICY is zero, CKPT /my/checkpoint: set one of them\n"
    assert script(EPISODES="3").stdout.endswith("--episodes 3\n")
    assert script(EPISODES="3", NUM_TRIALS="3").returncode == 0
    assert script(EPISODES="3", NUM_TRIALS="4").returncode == 2


def test_what_is_nearly_a_variable_is_named(script):
    done = script(DTYPE="float32", SOMETHING="else")
    assert done.returncode == 0
    assert (
        done.stderr == "DTYPE=float32 is ignored, as it is no variable of this script: did you mean DTYPES?\n"
    )


def test_the_newest_run_that_is_not_finished_goes_on_in_its_environment(script, tmp_path):
    def leave(name, status, when, **settings):
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        manifest = {"format": 1, "status": status, "settings": {"suite": "droid", "sim": None, **settings}}
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
        (folder / "journal.jsonl").write_text("")
        os.utime(folder / "journal.jsonl", (when, when))

    assert script(RESUME="1").returncode == 2
    leave("finished", "finished", 3)
    assert "no run that is not finished" in script(RESUME="1").stderr
    leave("older", "running", 1)
    leave("with a space", "interrupted", 2, suite="libero_object")
    assert script(RESUME="1").stdout == "libero -m headless_eval run --resume results/with a space\n"
    done = script("--slots", "2", RESUME="1", RESULTS="results/older")
    assert done.stdout == "default -m headless_eval run --resume results/older --slots 2\n"


def test_lerobots_policies_have_their_environment(script, tmp_path):
    cached = tmp_path / "hub" / "models--lerobot--fast" / "snapshots" / "0123"
    for folder, kind in ((tmp_path / "act", "act"), (tmp_path / "pi05", "pi05"), (cached, "pi0_fast")):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"type": kind, "input_features": {}}, indent=4))
    for variables, environment in (
        ({"CKPT": "act"}, "lerobot"),
        ({"POLICY": "lerobot:pi05"}, "lerobot"),
        ({"CKPT": "pi05"}, "default"),
        ({"CKPT": "lerobot/fast", "HF_HUB_CACHE": str(tmp_path / "hub")}, "lerobot"),
        ({"CKPT": "lerobot/other", "HF_HUB_CACHE": str(tmp_path / "hub")}, "default"),
        ({"CKPT": "act", "SUITE": "libero_object"}, "lerobot_libero"),
        ({"CKPT": "act", "SUITE": "simpler_bridge"}, "lerobot_simpler"),
    ):
        assert script(**variables).stdout.split()[:1] == [environment], variables
    assert "different Pythons" in script(CKPT="act", SIM="isaaclab").stderr
