"""Against what open-pi-zero itself computed, in float32 on a CPU."""

import json

import numpy as np
import pytest
import torch
from open_pi_zero_cases import REFERENCE, Case, load_case, relative_error

from headless_eval.policies.open_pi_zero.config import CONFIGS
from headless_eval.policies.open_pi_zero.model import OpenPiZero, flow_times, sample_time, time_embedding
from headless_eval.policies.open_pi_zero.names import STATE_STREAM, is_unread, to_ours, to_theirs

TOLERANCE = 1e-5


@pytest.fixture(params=["bridge", "fractal"])
def case(request) -> Case:
    return load_case(request.param)


def _prefix(model: OpenPiZero, inputs):
    return model.prefix(inputs["images"], inputs["tokens"], inputs["token_mask"], inputs["state"])


def test_actions(case):
    of = case.inputs
    actions = case.model().sample_actions(
        [of["images"]], [], of["tokens"], of["token_mask"], of["state"], of["noise"]
    )
    assert relative_error(actions, case.outputs["actions"]) < TOLERANCE
    assert relative_error(actions, case.outputs["actions_naive"]) < TOLERANCE
    assert actions.abs().max() <= 1


@torch.inference_mode()
def test_the_velocities_of_all_ten_steps(case):
    model = case.model()
    prefix = _prefix(model, case.inputs)
    context, times = model.suffix_context(prefix), flow_times(10, torch.device("cpu"))
    embeddings = model.condition(times)
    x_t = case.inputs["noise"]
    for step in range(10):
        velocity = model.velocity(prefix, context, x_t, embeddings[step : step + 1])
        assert relative_error(velocity, case.outputs["velocities"][:, step]) < TOLERANCE
        x_t = x_t + velocity / 10
    assert relative_error(x_t, case.outputs["actions_unclipped"]) < TOLERANCE


@torch.inference_mode()
def test_what_is_computed_on_the_way(case):
    model, of, theirs = case.model(), case.inputs, case.outputs
    config = case.config.model
    tower = model.vision(of["images"])
    assert relative_error(tower, theirs["vision_tower_out"]) < TOLERANCE
    assert relative_error(model.image_projector(tower), theirs["projected_image_features"]) < TOLERANCE
    scale = config.gemma.width**0.5
    valid = torch.cat([torch.ones_like(of["token_mask"][:, :1]).expand(-1, 16), of["token_mask"]], 1)
    embedded = model.embed_prefix(of["images"], of["tokens"], of["token_mask"])
    assert relative_error(embedded, theirs["vlm_layer0_input"]) < TOLERANCE
    assert relative_error(embedded / scale, theirs["merged_embeddings"]) < TOLERANCE
    state = model.embed_state(of["state"])
    width = config.expert.width
    assert relative_error(state / width**0.5, theirs["proprio_embed"]) < TOLERANCE
    times = time_embedding(flow_times(10, torch.device("cpu")), width, config.time_max_period)
    assert relative_error(times.expand(2, -1, -1), theirs["time_embeddings"]) < TOLERANCE

    entered: list[torch.Tensor] = []
    for layer in model.language.layers:
        layer.input_layernorm.register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    prefix = _prefix(model, of)
    for index, x in enumerate(entered):
        assert relative_error(x[valid], theirs[f"vlm_layer{index}_input"][valid]) < TOLERANCE
        keys = prefix.layers[index].keys[:, 0, : valid.shape[1]]
        assert relative_error(keys[valid], theirs[f"vlm_key_layer{index}"][:, 0][valid]) < TOLERANCE


def test_training_loss_and_gradients(case):
    model, of = case.model().train(), case.inputs
    arguments = ([of["images"]], [], of["tokens"], of["token_mask"], of["state"])
    loss = model.flow_matching_loss(*arguments, of["actions"], of["train_noise"], of["time"]).mean()
    loss.backward()
    assert abs(loss.item() / float(case.outputs["train_loss"]) - 1) < TOLERANCE
    ours = {to_theirs(name): p.grad.norm() for name, p in model.named_parameters() if p.grad is not None}
    seen = 0
    for key, norm in case.outputs.items():
        name = key.removeprefix("grad/")
        if name == key:
            continue
        if name.startswith(STATE_STREAM):  # one module with the actions'
            name = name.replace("proprio", "action")
        if is_unread(to_ours(name), case.config.model):
            assert norm == 0
            continue
        assert abs(float(ours[name]) - float(norm)) < TOLERANCE * max(float(norm), 1e-3), name
        seen += 1
    assert seen > 90


@pytest.mark.parametrize("sampler", ["uniform", "beta"])
def test_flow_times_are_drawn_as_theirs(sampler):
    path = REFERENCE / "flow_time" / "samples.npz"
    if not path.is_file():
        pytest.skip(f"no golden data at {path}")
    with np.load(path) as archive:
        stored = dict(archive)
    for batch in (1, 8, 16):
        torch.manual_seed(11)
        assert np.abs(sample_time(batch, sampler).numpy() - stored[f"{sampler}_bsz{batch}"]).max() < 1e-6
    drawn = sample_time(200_000, sampler, torch.Generator().manual_seed(3)).double()
    quantiles = torch.quantile(drawn, torch.linspace(0, 1, 101, dtype=torch.float64)).numpy()
    assert np.abs(quantiles - stored[f"{sampler}_quantiles"]).max() < 0.01
    assert 0 <= drawn.min() <= drawn.max() < 1


@pytest.mark.parametrize("name", ["bridge", "fractal"])
def test_names_and_shapes_of_the_published_checkpoints(name):
    path = REFERENCE / f"{name}_full_state_dict.json"
    if not path.is_file():
        pytest.skip(f"no golden data at {path}")
    theirs = json.loads(path.read_text())
    config = CONFIGS[f"open_pi_zero_{name}"].model
    with torch.device("meta"):
        ours = {key: list(value.shape) for key, value in OpenPiZero(config).state_dict().items()}
    read = {to_ours(key): shape for key, (shape, _) in theirs.items() if not key.startswith(STATE_STREAM)}
    assert {key: shape for key, shape in read.items() if not is_unread(key, config)} == ours
    assert sum(key.startswith(STATE_STREAM) for key in theirs) == 163
