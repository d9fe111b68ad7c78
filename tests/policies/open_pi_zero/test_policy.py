import numpy as np
import pytest
import torch
from open_pi_zero_cases import REFERENCE, load_case, plain_stats, relative_error, small_policy

from headless_eval.errors import UserError
from headless_eval.policies.open_pi_zero.adapters import bridge_actions
from headless_eval.policies.open_pi_zero.config import CONFIGS, PolicyConfig, read_config
from headless_eval.policies.open_pi_zero.policy import OpenPiZeroPolicy


@pytest.fixture(params=["widowx", "google_robot"])
def policy(request, tokenizer) -> OpenPiZeroPolicy:
    return small_policy(request.param, tokenizer)


def _observation(policy: OpenPiZeroPolicy, seed: int = 0):
    random = np.random.default_rng(seed)
    return {
        "observation/image": random.integers(0, 256, (48, 64, 3), np.uint8),
        "observation/state": random.uniform(-1, 1, 8),
        "prompt": "put carrot on plate",
    }


def test_chunks_and_noise(policy):
    reply = policy.infer(_observation(policy), np.zeros(policy.noise_shape, np.float32))
    assert reply["actions"].shape == (4, 7)
    assert reply["actions"].dtype == np.float32
    assert reply["policy_timing"]["infer_ms"] > 0
    again = policy.infer(_observation(policy), np.zeros(policy.noise_shape, np.float32))
    policy.reset()
    assert policy.robot == "google_robot" or (again["actions"] == reply["actions"]).all()
    with pytest.raises(ValueError, match="noise has shape"):
        policy.infer(_observation(policy), np.zeros((3, 7), np.float32))


def test_a_batch_gives_what_each_observation_gives_alone(policy):
    observations = [_observation(policy, seed) for seed in range(3)]
    noise = np.random.default_rng(5).standard_normal((3, *policy.noise_shape), np.float32)
    together = policy.infer_batch(observations, noise, slots=[0, 1, 2])
    policy.reset()
    for slot, (obs, one) in enumerate(zip(observations, noise, strict=True)):
        alone = policy.infer_batch([obs], one[None], slots=[slot])[0]
        assert np.allclose(alone["actions"], together[slot]["actions"], atol=1e-5)


def test_grippers_of_episodes_are_apart_and_forgotten_at_their_end(tokenizer):
    policy = small_policy("google_robot", tokenizer)
    closing = {"actions": np.zeros((4, 7), np.float32)}
    opening = {"actions": np.ones((4, 7), np.float32)}
    assert (policy.conclude(closing, 3)["actions"][:, 6] == 1).all()
    assert (policy.conclude(opening, 3)["actions"][:, 6] == 1).all()
    assert (policy.conclude(opening, 4)["actions"][:, 6] == -1).all()
    policy.reset([3])
    assert (policy.conclude(opening, 3)["actions"][:, 6] == -1).all()
    assert (policy.conclude(closing, 4)["actions"][:, 6] == -1).all()


def test_the_pipeline_around_the_model(tokenizer):
    """The adapter's inputs and outputs of the reference, around a model that returns given actions."""
    path = REFERENCE / "adapter_bridge" / "cases.npz"
    if not path.is_file():
        pytest.skip(f"no golden data at {path}")
    with np.load(path) as stored:
        cases = dict(stored)
    policy = small_policy("widowx", tokenizer, published=True)
    for state, normal in zip(cases["eef_pos"], cases["normalized_proprio"], strict=True):
        obs = {"observation/image": cases["image"], "observation/state": state, "prompt": "x"}
        assert np.allclose(policy.prepare(obs).state, normal, atol=1e-6)
    for chunk, wanted in zip(cases["model_actions"], cases["env_actions"], strict=True):
        assert np.allclose(policy.conclude({"actions": chunk}, 0)["actions"], wanted, atol=1e-6)


def test_golden_actions_through_the_policy(tokenizer):
    case = load_case("bridge")
    policy = OpenPiZeroPolicy(case.model(), case.config, plain_stats(case.config), tokenizer)
    of = case.inputs
    actions = policy.engine.sample_actions(
        [of["images"]], [], of["tokens"], of["token_mask"], of["state"], of["noise"]
    )
    assert relative_error(actions, case.outputs["actions"]) < 1e-5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observation/state": None}, "no 'observation/state'"),
        ({"observation/state": np.zeros(7)}, "has 7 numbers, not 8"),
        ({"observation/image": np.zeros((4, 4))}, "uint8"),
        ({"prompt": 3}, "not a string"),
    ],
)
def test_malformed_observations(policy, change, words):
    obs = {key: value for key, value in (_observation(policy) | change).items() if value is not None}
    with pytest.raises(UserError, match=words):
        policy.infer(obs)


def test_saved_and_read_again(policy, tmp_path):
    policy.save(tmp_path)
    config = read_config(tmp_path / "config.toml")
    assert config == policy.config
    again = OpenPiZeroPolicy.from_checkpoint(tmp_path, config)
    for name, value in policy.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
    noise = np.ones(policy.noise_shape, np.float32)
    replies = [one.infer(_observation(policy), noise)["actions"] for one in (policy, again)]
    assert (replies[0] == replies[1]).all()


def test_settings(policy):
    noise = np.ones(policy.noise_shape, np.float32)
    ten = policy.infer(_observation(policy), noise)["actions"]
    policy.reset()
    policy.configure(flow_steps=3)
    three = policy.infer(_observation(policy), noise)["actions"]
    assert not np.array_equal(ten, three)
    policy.reset()
    policy.configure()
    assert (policy.infer(_observation(policy), noise)["actions"] == ten).all()
    with pytest.raises(UserError, match="flow_steps"):
        policy.configure(flow_steps=0)
    with pytest.raises(UserError, match="engine"):
        policy.configure(engine="fused")
    with pytest.raises(UserError, match="CUDA"):
        policy.configure(engine="compiled")


def test_configurations_of_the_wrong_robot_are_refused():
    config = CONFIGS["open_pi_zero_bridge"]
    with pytest.raises(ValueError, match="state_dim of google_robot is 8"):
        PolicyConfig("x", config.model, "google_robot", "bridge", 2)
    with pytest.raises(ValueError, match="observation"):
        PolicyConfig("x", config.model, "droid", "bridge", 2)


def test_a_widowx_gripper_is_open_or_closed():
    chunk = np.zeros((2, 7))
    chunk[:, 6] = [0.4, 0.6]
    assert bridge_actions(chunk)[:, 6].tolist() == [-1, 1]
