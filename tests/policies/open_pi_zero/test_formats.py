from dataclasses import replace

import pytest
import torch
from open_pi_zero_cases import CPU, SMALL, small_policy

from headless_eval.errors import UserError
from headless_eval.policies.open_pi_zero import formats
from headless_eval.policies.open_pi_zero.config import CONFIGS, PolicyConfig
from headless_eval.policies.open_pi_zero.names import ACTION_STREAM, STATE_STREAM, to_theirs


@pytest.fixture
def config() -> PolicyConfig:
    return replace(CONFIGS["open_pi_zero_bridge"], model=SMALL)


@pytest.fixture
def state(tokenizer) -> dict[str, torch.Tensor]:
    """A model's parameters by open-pi-zero's names, the action expert under both of its names."""
    model = small_policy("widowx", tokenizer).model
    # A policy on a CPU keeps its matrices column by column.
    state = {to_theirs(name): value.contiguous() for name, value in model.state_dict().items()}
    shared = {
        STATE_STREAM + name.removeprefix(ACTION_STREAM): value
        for name, value in state.items()
        if name.startswith(ACTION_STREAM)
    }
    return state | shared


def _save(path, state, **others):
    torch.save({"model": state, "wandb_id": None, "cnt_update": 3, **others}, path)
    return path


def test_prefixes_of_compilation_and_other_contents_make_no_difference(config, state, tmp_path):
    plain = formats.load_model(config, _save(tmp_path / "a.pt", state), CPU, torch.float32)
    named = {
        f"_orig_mod.{name}".replace("layers.", "layers._orig_mod.", 1): value for name, value in state.items()
    }
    optimizer = {
        "state": {0: {"exp_avg": torch.zeros(3)}},
        "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.95)}],
    }
    prefixed = formats.load_model(
        config, _save(tmp_path / "b.pt", named, action_optimizer=optimizer), CPU, torch.float32
    )
    for name, value in plain.state_dict().items():
        assert torch.equal(value, prefixed.state_dict()[name])


def test_bfloat16_and_unread_parameters(config, state, tmp_path):
    state = {name: value.bfloat16() for name, value in state.items()}
    state["lm_head.weight"] = torch.zeros(3)
    model = formats.load_model(config, _save(tmp_path / "a.pt", state), CPU, torch.float32)
    assert model.dtype == torch.float32


def test_copies_of_the_expert_have_to_be_equal(config, state, tmp_path):
    copies = {name: value.clone() for name, value in state.items()}
    formats.check_weights(_save(tmp_path / "equal.pt", copies), config)
    copies[f"{STATE_STREAM}layers.1.mlp.up_proj.weight"][0, 0] += 1
    with pytest.raises(UserError, match="two different tensors"):
        formats.check_weights(_save(tmp_path / "unequal.pt", copies), config)


def test_the_wrong_sizes_and_numbers_are_named(config, state, tmp_path):
    wrong = state | {"proprio_encoder.weight": torch.zeros(16, 8)}
    with pytest.raises(UserError, match=r"mis-shaped proprio_encoder.weight is \(16, 8\), not \(16, 7\)"):
        formats.check_weights(_save(tmp_path / "shape.pt", wrong), config)
    missing = {name: value for name, value in state.items() if name != "action_decoder.bias"}
    with pytest.raises(UserError, match=r"missing action_decoder\.bias"):
        formats.check_weights(_save(tmp_path / "missing.pt", missing), config)
    broken = state | {"action_decoder.bias": torch.full((7,), torch.nan)}
    with pytest.raises(UserError, match=r"NaN or infinity: action_decoder\.bias"):
        formats.load_model(config, _save(tmp_path / "nan.pt", broken), CPU, torch.float32)


@pytest.mark.parametrize("asset_id", ["/any/place", "../..", "", "a\0b"])
def test_the_folder_of_the_statistics_is_in_the_checkpoint(config, asset_id):
    with pytest.raises(ValueError, match="asset_id is the name of a folder in assets/"):
        replace(config, asset_id=asset_id)


def test_statistics_are_the_folders_or_the_published_ones(config, tokenizer, tmp_path):
    published = formats.find_norm_stats(tmp_path / "x.pt", config)
    assert len(published["state"]) == 7
    formats.save_norm_stats(tmp_path, config, small_policy("widowx", tokenizer).norm_stats)
    assert (formats.find_norm_stats(tmp_path, config)["state"].mean == 0).all()
    assert (formats.find_norm_stats(tmp_path / "x.pt", config)["state"].mean == 0).all()
    with pytest.raises(UserError, match="of another robot"):
        formats.find_norm_stats(
            tmp_path,
            CONFIGS["open_pi_zero_fractal"].__class__(
                "x", CONFIGS["open_pi_zero_fractal"].model, "google_robot", "bridge", 2
            ),
        )
