"""Loading of LeRobot's policies: what is refused, and what is left alone."""

import json
import os

import pytest
from lerobot_policies import observation

pytestmark = pytest.mark.lerobot
pytest.importorskip("lerobot")

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from headless_eval import UserError, load_policy  # noqa: E402


def test_global_state_is_left_as_it_was(folders, monkeypatch):
    import huggingface_hub.constants as constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with load_policy(checkpoint=folders["diffusion"]) as policy:
        torch.manual_seed(3)
        before = torch.get_rng_state()
        policy.reset([0], seeds=[1])
        policy.infer(observation(1))
        assert torch.equal(torch.get_rng_state(), before)
    assert constants.HF_HUB_OFFLINE is False
    assert "HF_HUB_OFFLINE" not in os.environ


def changed(folder, to, **change):
    to.mkdir(exist_ok=True)
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**config, **change}))
    return to


def test_weights_come_from_the_folder_alone(folders, tmp_path):
    """Although the configuration names weights of torchvision, which would be downloaded."""
    folder = changed(folders["act"], tmp_path, pretrained_backbone_weights="ResNet18_Weights.IMAGENET1K_V1")
    with load_policy(checkpoint=folder) as policy:
        assert policy.infer(observation(1))["actions"].shape == (8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"type": "never_heard_of"},
            r"names the type 'never_heard_of', which LeRobot .* does not know: known are act",
        ),
        ({"use_peft": True}, "PEFT"),
        ({"chunk_size": "many"}, "cannot load"),
        ({"dim_model": 64}, "cannot load"),
        ({"n_decoder_layers": 2}, r"lacks .* tensors, such as model.decoder.layers.1"),
    ],
)
def test_folders_that_do_not_fit_are_refused(change, message, folders, tmp_path):
    with pytest.raises(UserError, match=message):
        load_policy(checkpoint=changed(folders["act"], tmp_path, **change))


def test_missing_files_are_named(folders, tmp_path):
    folder = changed(folders["act"], tmp_path)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no model.safetensors"):
        load_policy(checkpoint=folder)
    save_file(weights, folder / "model.safetensors")
    (folder / "policy_postprocessor.json").unlink()
    with pytest.raises(UserError, match=r"no policy_postprocessor.json"):
        load_policy(checkpoint=folder)


def test_a_tokenizer_that_is_not_cached_is_named_with_the_command(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = changed(folders["act"], tmp_path / "policy")
    path = folder / "policy_preprocessor.json"
    processor = json.loads(path.read_text())
    step = {
        "registry_name": "tokenizer_processor",
        "config": {"tokenizer_name": "someone/tokens", "max_length": 8},
    }
    path.write_text(json.dumps({**processor, "steps": [step, *processor["steps"]]}))
    with pytest.raises(UserError, match=r"needs someone/tokens from the hub.*fetch someone/tokens"):
        load_policy(checkpoint=folder)


def test_flow_steps_are_those_of_diffusion(folders):
    with load_policy(checkpoint=folders["diffusion"], flow_steps=2) as policy:
        assert policy.module.diffusion.num_inference_steps == 2
    with pytest.raises(UserError, match="has no flow"):
        load_policy(checkpoint=folders["act"], flow_steps=2)
