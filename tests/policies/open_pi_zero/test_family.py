"""The family in the commands: checkpoints are found, checked, converted, quantized and measured."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from open_pi_zero_cases import REFERENCE, load_case, small_policy
from paths import GOLDEN

from headless_eval.cli.main import main
from headless_eval.local_policy import LocalPolicy, load_policy
from headless_eval.policies.open_pi_zero.config import CONFIGS, write_config
from headless_eval.policies.open_pi_zero.names import to_theirs
from headless_eval.policies.registry import list_configs


@pytest.fixture
def folder(tokenizer, tmp_path):
    """A small policy's folder."""
    small_policy("widowx", tokenizer).save(tmp_path / "policy")
    return tmp_path / "policy"


@pytest.fixture
def torch_file(tokenizer, tmp_path):
    """The same as a file of open-pi-zero, with its configuration and tokenizer beside it."""
    policy = small_policy("widowx", tokenizer)
    state = {
        f"_orig_mod.{to_theirs(name)}": value.contiguous()
        for name, value in policy.model.state_dict().items()
    }
    torch.save({"model": state, "cnt_update": 1, "action_optimizer": {"state": {}}}, tmp_path / "step1.pt")
    write_config(tmp_path / "sizes.toml", policy.config)
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.model_bytes)
    return tmp_path / "step1.pt"


def _observation():
    return CONFIGS["open_pi_zero_bridge"].robot.example_observation() | {
        "observation/state": np.array([0.3, 0, 0.1, 1, 0, 0, 0, 1.0])
    }


def test_configurations_are_known():
    assert {"open_pi_zero_bridge", "open_pi_zero_fractal"} <= {*list_configs()}


def test_a_file_is_evaluated_checked_and_converted(torch_file, tmp_path, capsys):
    sizes = ["--config-file", str(tmp_path / "sizes.toml")]
    assert main(["doctor", "--checkpoint", str(torch_file), *sizes]) == 0
    said = capsys.readouterr().out
    assert "open-pi-zero, 1 file" in said
    assert "rotary base 10000" in said
    assert main(["convert", str(torch_file), str(tmp_path / "ours"), *sizes]) == 0
    with (
        load_policy(checkpoint=torch_file, config_file=tmp_path / "sizes.toml") as theirs,
        load_policy(tmp_path / "ours") as ours,
    ):
        assert theirs.robot == "widowx"
        assert theirs.fingerprint() == ours.fingerprint()
        noise = np.ones(theirs.noise_shape, np.float32)
        published = theirs.infer(_observation(), noise)["actions"]
        assert np.array_equal(published, ours.infer(_observation(), noise)["actions"])
    assert main(["convert", str(torch_file), str(tmp_path / "openpi"), "--to", "openpi", *sizes]) == 2


def test_settings_that_no_file_holds_make_a_difference(torch_file, tmp_path):
    config = tmp_path / "sizes.toml"
    said = config.read_text()
    noise = np.ones((4, 7), np.float32)
    actions = []
    for text in (said, said.replace("expert_rope_theta = 10000.0", "expert_rope_theta = 100.0")):
        config.write_text(text)
        with load_policy(checkpoint=torch_file, config_file=config) as policy:
            actions.append(policy.infer(_observation(), noise)["actions"])
    assert not np.array_equal(*actions)


def test_files_that_are_no_checkpoint_are_refused_in_one_line(tmp_path, capsys):
    class Runs:
        def __reduce__(self):
            return print, ("ran",)

    harmful, other, empty = (tmp_path / f"{name}.pt" for name in ("harmful", "other", "empty"))
    torch.save({"model": {"a": torch.ones(2)}, "b": Runs()}, harmful)
    torch.save({"state_dict": {"a": torch.ones(2)}}, other)
    empty.write_bytes(b"")
    for path in (harmful, other, empty, tmp_path / "none.pt"):
        for command in ("run", "bench"):
            assert main([command, "--checkpoint", str(path), "--config", "open_pi_zero_bridge"]) == 2
            captured = capsys.readouterr()
            assert "ran" not in captured.out.split()
            assert len(captured.err.strip().splitlines()) == 1, captured.err


def test_the_wrong_robot_is_refused(folder, capsys):
    assert main(["doctor", "--policy", str(folder), "--robot", "google_robot"]) == 2
    assert "for the robot widowx, not google_robot" in capsys.readouterr().err


METHODS = ["rtn_w4a8", "smoothquant_w8a8", "duquant_w4a8"]


@pytest.mark.parametrize("precision", ["int8_both", "float8_e4m3_both", "bfloat16_weights_only", *METHODS])
def test_precisions_and_methods_change_actions_and_are_undone(folder, precision):
    observations, noise = [_observation()] * 3, np.ones((3, 4, 7), np.float32)
    with load_policy(folder) as policy:
        before = policy.infer_batch(observations, noise)
        policy.calibration = policy.record_inputs(observations, list(noise))
        policy.set_precision(precision)
        changed = policy.infer_batch(observations, noise)
        assert policy.describe_precision()["unfired"] == []
        policy.set_precision("float32")
        after = policy.infer_batch(observations, noise)
    assert not np.array_equal(before[0]["actions"], changed[0]["actions"])
    assert np.array_equal(before[0]["actions"], after[0]["actions"])


def test_google_robots_gripper_sticks_in_its_own_episode_alone(tokenizer):
    policy = small_policy("google_robot", tokenizer)
    robot = CONFIGS["open_pi_zero_fractal"].robot
    obs = robot.example_observation() | {"observation/state": np.array([0.5, 0, 0.7, 0, 0, 0, 1, 0.5])}
    noise = np.random.default_rng(0).standard_normal((5, 4, 7), np.float32)
    with LocalPolicy(policy, "small") as local:
        assert local.stateless
        together = local.infer_batch([obs] * 5, noise, slots=range(5))
        local.reset()
        for slot in range(5):
            (alone,) = local.infer_batch([obs], noise[slot : slot + 1], slots=[slot])
            assert np.array_equal(alone["actions"], together[slot]["actions"])
        one = policy._grippers[0]
        assert policy._grippers[1] is not one
        local.reset([0])
        assert 0 not in policy._grippers


def test_measured_with_and_without_weights(folder, tmp_path, capsys):
    files = {"config-file": folder / "config.toml", "tokenizer": folder / "tokenizer.model"}
    small = ["--random-weights", *(word for name, path in files.items() for word in (f"--{name}", str(path)))]
    which = ["--dtypes", "float32", "int8", "--modes", "both", "--engines", "eager", "--batch", "2"]
    brief = ["--repeats", "2", "--results"]
    assert main(["bench", *small, *which, *brief, str(tmp_path / "bench")]) == 0
    rows = json.loads((tmp_path / "bench" / "bench.json").read_text())["rows"]
    assert {row["status"] for row in rows} == {"ok"}
    assert main(["profile", "--policy", str(folder), *brief, str(tmp_path / "profile")]) == 0
    assert "language" in capsys.readouterr().out


def test_golden_case_through_the_command_line(tmp_path, capsys):
    case = load_case("fractal")
    write_config(tmp_path / "sizes.toml", replace(case.config, name="golden"))
    sizes = ["--config-file", str(tmp_path / "sizes.toml")]
    words = ["--checkpoint", str(REFERENCE / "fractal" / "checkpoint.pt"), *sizes]
    assert main(["doctor", *words, "--tokenizer", str(GOLDEN / "tokenizer.model")]) == 0
    assert "google_robot: observation/image" in capsys.readouterr().out
