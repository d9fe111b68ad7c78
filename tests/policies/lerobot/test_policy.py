"""LeRobot's policies against LeRobot's own way of asking them."""

import copy
from collections import deque

import numpy as np
import pytest
from lerobot_policies import CAMERAS, observation, write_policy

pytestmark = pytest.mark.lerobot
pytest.importorskip("lerobot")

import torch  # noqa: E402

from headless_eval import Precision, UserError, load_policy  # noqa: E402


def ask_lerobot(folder, observations, seed=0):
    """Return the actions of one episode, as LeRobot's own evaluation asks for them."""
    from lerobot.configs import PreTrainedConfig
    from lerobot.policies import get_policy_class, make_pre_post_processors

    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder)
    before, after = make_pre_post_processors(config, pretrained_path=str(folder))
    policy.reset()
    torch.manual_seed(seed)
    actions = []
    for obs in observations:
        keys = [name.replace("observation.images.", "observation/") for name in CAMERAS]
        state = [obs["observation/joint_position"], obs["observation/gripper_position"]]
        batch = {
            **{
                name: torch.from_numpy(obs[key]).permute(2, 0, 1)[None] / 255
                for name, key in zip(CAMERAS, keys, strict=True)
            },
            "observation.state": torch.from_numpy(np.concatenate(state))[None],
            "task": [obs["prompt"]],
        }
        actions.append(after(policy.select_action(before(batch)))[0].numpy())
    return np.stack(actions)


def test_a_chunk_is_what_lerobot_would_do_step_by_step(folders):
    obs = observation(1)
    with load_policy(checkpoint=folders["act"], max_batch=1) as policy:
        chunk = policy.infer(obs)["actions"]
        assert (chunk.shape, policy.open_loop_horizon, policy.stateless) == ((8, 8), 5, True)
        assert (policy.robot, policy.image_size, policy.noise_shape) == ("droid", 64, None)
        facts = policy.describe()
    np.testing.assert_allclose(chunk[:5], ask_lerobot(folders["act"], [obs] * 5), atol=1e-5)
    assert (facts["lerobot"]["type"], facts["lerobot"]["asked_for"]) == ("act", "whole chunks")
    with load_policy(f"lerobot:{folders['act']}") as policy:  # in batches
        replies = policy.infer_batch([observation(seed) for seed in range(6)])
    np.testing.assert_allclose(replies[1]["actions"], chunk, atol=1e-5)


def test_other_sizes_of_pictures_are_scaled(folders):
    with load_policy(checkpoint=folders["act"], max_batch=1) as policy:
        large = observation(1, 128)
        reply = policy.infer(large)["actions"]
        for key in ("observation/exterior_image_1_left", "observation/wrist_image_left"):
            blocks = large[key].reshape(64, 2, 64, 2, 3)
            large[key] = blocks.mean((1, 3)).astype(np.uint8)
        assert abs(reply - policy.infer(large)["actions"]).max() < 0.2


@pytest.mark.parametrize("kind", ["diffusion", "ensembling"])
def test_every_slot_has_its_own_memory(kind, folders, tmp_path):
    if kind == "ensembling":
        folder = write_policy(tmp_path, "act", temporal_ensemble_coeff=0.01, n_action_steps=1)
    else:
        folder = folders["diffusion"]
    episodes = [[observation(100 * slot + step) for step in range(6)] for slot in range(2)]
    wanted = [ask_lerobot(folder, episode, seed) for seed, episode in enumerate(episodes, 7)]
    with load_policy(checkpoint=folder) as policy:
        assert (policy.max_slots, policy.open_loop_horizon, policy.stateless) == (None, 1, False)
        policy.warmup()
        policy.reset([0, 1], seeds=[7, 8])
        together = [
            policy.infer_batch([episode[step] for episode in episodes], slots=[0, 1]) for step in range(6)
        ]
        policy.reset([0], seeds=[7])
        again = [policy.infer_batch([episodes[0][step]], slots=[0]) for step in range(6)]
    for slot in range(2):
        actions = np.stack([replies[slot]["actions"][0] for replies in together])
        np.testing.assert_allclose(actions, wanted[slot], atol=1e-4)
    np.testing.assert_array_equal(
        [reply[0]["actions"] for reply in again], [reply[0]["actions"] for reply in together]
    )


def test_types_not_known_to_keep_their_memory_apart_get_one_slot(folders, monkeypatch):
    monkeypatch.setattr("headless_eval.policies.lerobot.policy._SLOTS", ())
    with load_policy(checkpoint=folders["diffusion"]) as policy:
        assert policy.max_slots == 1
        policy.reset([0], seeds=[7])
        first = [policy.infer_batch([observation(step)], slots=[0])[0]["actions"] for step in range(3)]
        policy.reset([0], seeds=[7])
        again = policy.infer_batch([observation(0)], slots=[0])[0]["actions"]
        np.testing.assert_array_equal(again, first[0])


@pytest.mark.parametrize("kind", ["act", "diffusion"])
def test_precisions_change_the_module_and_leave_it_as_it_was(kind, folders):
    with load_policy(checkpoint=folders[kind]) as policy:

        def act():
            policy.reset([0], seeds=[7])
            return policy.infer_batch([observation(1)], slots=[0])[0]["actions"]

        exact, weights = act(), policy.fingerprint()
        for dtype, mode, least in (("int8", "both", 1e-4), ("int4", "weights_only", 1e-3)):
            policy.set_precision(Precision(dtype, mode))
            assert policy.fingerprint() == weights
            assert abs(act() - exact).max() > least
        policy.set_precision("float32")
        np.testing.assert_array_equal(act(), exact)


def test_an_observation_that_lacks_something(folders):
    with load_policy(checkpoint=folders["act"], max_batch=1) as policy:
        for key in ("observation/joint_position", "observation/wrist_image_left"):
            obs = observation(1)
            del obs[key]
            with pytest.raises(UserError, match=key):
                policy.infer(obs)


def test_queues_are_copied_and_weights_are_not():
    from headless_eval.policies.lerobot.policy import _Memory

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.config = torch.nn.Linear(2, 2), copy.copy(self)
            self.inner = [self.layer]

        def reset(self):
            self.queue, self.count = deque(), 0

    model = Model()
    memory = _Memory(model)
    for slot, count in ((0, 1), (1, 2), (0, 3)):
        memory.use(slot)
        model.queue.append(count)
        model.count += 1
        memory.keep()
    memory.use(0)
    assert (list(model.queue), model.count, model.inner[0]) == ([1, 3], 2, model.layer)
    memory.use(1)
    assert (list(model.queue), model.count) == ([2], 1)
    memory.forget([1])
    memory.use(1)
    assert (list(model.queue), model.count) == ([], 0)
