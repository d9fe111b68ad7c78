"""LeRobot's policies against LeRobot's own way of asking them."""

import copy
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
from lerobot_policies import CAMERAS, SIZE, observation, word_tokenizer, write_policy

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
        actions.append(after(policy.select_action(before(batch_of([obs]))))[0].numpy())
    return np.stack(actions)


def batch_of(observations):
    """Return observations with LeRobot's names and shapes."""
    keys = {name: name.replace("observation.images.", "observation/") for name in CAMERAS}
    groups = ("observation/joint_position", "observation/gripper_position")
    pictures = {
        name: torch.stack([torch.from_numpy(obs[key]).permute(2, 0, 1) / 255 for obs in observations])
        for name, key in keys.items()
    }
    states = np.stack([np.concatenate([obs[key] for key in groups]) for obs in observations])
    prompts = [obs["prompt"] for obs in observations]
    return {**pictures, "observation.state": torch.from_numpy(states), "task": prompts}


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


def ask_lerobot_for_chunks(folder, observations, noise=None):
    """Return LeRobot's own action chunks for a batch of observations, as its asynchronous inference asks for them."""
    from lerobot.configs import PreTrainedConfig
    from lerobot.policies import get_policy_class, make_pre_post_processors

    config = PreTrainedConfig.from_pretrained(folder)
    config.validate_action_token_prefix = False  # of π0-FAST: random weights say no actions
    policy = get_policy_class(config.type).from_pretrained(folder, config=config)
    before, after = make_pre_post_processors(config, pretrained_path=str(folder))
    batch = before(batch_of(observations))
    chunks = policy.predict_action_chunk(batch, **({} if noise is None else {"noise": noise}))
    return torch.stack([after(chunks[:, step]) for step in range(chunks.shape[1])], dim=1).numpy()


def test_smolvla_gives_lerobot_s_chunks_from_the_noise_that_it_is_given(smolvla):
    observations = [observation(seed) for seed in range(3)]
    noise = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    wanted = ask_lerobot_for_chunks(smolvla, observations, torch.from_numpy(noise))
    with load_policy(checkpoint=smolvla) as policy:
        assert (policy.stateless, policy.noise_shape, policy.open_loop_horizon) == (True, (8, 8), 5)
        replies = policy.infer_batch(observations, noise)
        np.testing.assert_allclose([reply["actions"] for reply in replies], wanted, atol=1e-4)
        weights = policy.fingerprint()
        policy.set_precision(Precision("int8", "both"))
        rounded = policy.infer_batch(observations, noise)
        assert abs(rounded[0]["actions"] - replies[0]["actions"]).max() > 1e-4
        policy.set_precision("float32")
        assert policy.fingerprint() == weights
        again = policy.infer_batch(observations, noise)
        np.testing.assert_array_equal(again[0]["actions"], replies[0]["actions"])


@pytest.fixture
def pi0_fast(tmp_path, monkeypatch):
    """Return the folder of a π0-FAST: LeRobot's own code, with a smaller PaliGemma and made-up tokenizers."""
    from lerobot.policies.pi0_fast import modeling_pi0_fast
    from lerobot.processor import tokenizer_processor

    class Fast:
        """Like the hub's tokenizer of actions, of which LeRobot uses these names."""

        scale, min_token = 10, -ord("z") // 2
        bpe_tokenizer = SimpleNamespace(decode=lambda tokens: "".join(chr(ord("A") + int(t)) for t in tokens))

    whole = modeling_pi0_fast.PaliGemmaForConditionalGenerationWithPiGemma
    tokenizer = word_tokenizer({})
    hub = {"lerobot/fast-action-tokenizer": Fast(), "google/paligemma-3b-pt-224": tokenizer}
    stand_in = SimpleNamespace(from_pretrained=lambda name, **options: hub[name])

    def small(config):
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
        text = {"num_key_value_heads": 1, "head_dim": 16, "vocab_size": len(tokenizer)}
        for of, changes in (
            (config.text_config, sizes | text),
            (config.vision_config, sizes | {"image_size": SIZE, "patch_size": 16, "projection_dim": 32}),
        ):
            for name, value in changes.items():
                setattr(of, name, value)
        return whole(config)

    monkeypatch.setattr(modeling_pi0_fast, "PaliGemmaForConditionalGenerationWithPiGemma", small)
    for module in (modeling_pi0_fast, tokenizer_processor):
        monkeypatch.setattr(module, "AutoProcessor", stand_in)
        monkeypatch.setattr(module, "AutoTokenizer", stand_in)
    return write_policy(tmp_path, "pi0_fast")


def test_pi0_fast_gives_lerobot_s_chunks(pi0_fast):
    observations = [observation(seed) for seed in range(2)]
    wanted = ask_lerobot_for_chunks(pi0_fast, observations)
    with load_policy(checkpoint=pi0_fast) as policy:
        assert (policy.stateless, policy.noise_shape, policy.open_loop_horizon) == (True, None, 5)
        replies = policy.infer_batch(observations)
        np.testing.assert_allclose([reply["actions"] for reply in replies], wanted, atol=1e-5)
        assert abs(wanted[0] - wanted[1]).max() > 0.1  # not only the zeros of what cannot be decoded
        weights = policy.fingerprint()
        policy.set_precision(Precision("int4", "both"))
        assert np.isfinite(policy.infer_batch(observations)[0]["actions"]).all()
        policy.set_precision("float32")
        assert policy.fingerprint() == weights


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
