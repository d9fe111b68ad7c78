import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import GOLDEN
from torch import nn

import headless_eval
from headless_eval.contracts.robots import ROBOTS
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy, load_policy
from headless_eval.policies.registry import list_policies
from headless_eval.quant.methods.rtn import RoundToNearest
from headless_eval.quant.precision import DTYPES, MODES, Precision, Scope

H, A = 6, 8


class ToyNetwork(nn.Module):
    """A small flow-matching policy; its matrix products are big enough for a GEMM to depend on the batch."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.vision = nn.Conv2d(3, 32, 14, stride=14)
        self.mix = nn.Linear(32 + 8, 64)
        self.act = nn.GELU()
        self.velocity = nn.Linear(64 + A, A)
        self.register_buffer("bias_of_state", torch.randn(8))

    def forward(self, image, state, noise):
        seen = self.vision(image).mean(dim=(2, 3))
        context = self.act(self.mix(torch.cat([seen, state + self.bias_of_state], dim=-1)))
        x = noise
        for _ in range(4):
            x = x + self.velocity(torch.cat([context[:, None].expand(-1, H, -1), x], dim=-1)) / 4
        return x


class ToyConfig:
    name = "toy"
    observation = "droid"
    open_loop_horizon = 3


class ToyPolicy:
    """Has what a policy of ours has."""

    concurrent = True

    def __init__(self, seed=0):
        self.model = ToyNetwork(seed).eval()
        self.config = ToyConfig()
        self.noise_shape = (H, A)
        self.threads, self.batches, self.resets = set(), [], 0

    def infer(self, obs, noise=None):
        return self._infer([obs], None if noise is None else noise[None])[0]

    def infer_batch(self, observations, noise=None):
        self.batches.append([obs.get("number") for obs in observations])
        return self._infer(observations, noise)

    def _infer(self, observations, noise):
        self.threads.add(threading.get_ident())
        assert torch.get_num_threads() == 1
        assert torch.is_inference_mode_enabled()
        if noise is None:
            noise = np.zeros((len(observations), H, A), np.float32)
        image = np.stack([obs["observation/exterior_image_1_left"] for obs in observations])
        state = [
            np.r_[obs["observation/joint_position"], obs["observation/gripper_position"]]
            for obs in observations
        ]
        actions = self.model(
            torch.from_numpy(image).permute(0, 3, 1, 2).float() / 127.5 - 1,
            torch.from_numpy(np.stack(state)).float(),
            torch.from_numpy(np.asarray(noise)),
        )
        return [{"actions": chunk.numpy(), "policy_timing": {"infer_ms": 1.0}} for chunk in actions]

    def reset(self):
        self.resets += 1


class ToyForeign:
    """Somebody else's: infer(obs) and nothing more."""

    def __init__(self, module=None):
        if module is not None:
            self._net = module
        self.calls = []

    def infer(self, obs):
        self.calls.append((obs["number"], threading.get_ident()))
        return {"actions": [[obs["number"], 0.5]]}


def observations(number, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for index in range(number):
        obs = ROBOTS["droid"].example_observation()
        obs["observation/exterior_image_1_left"] = rng.integers(0, 256, (224, 224, 3), np.uint8)
        obs["observation/joint_position"] = rng.standard_normal(7).astype(np.float32)
        made.append({**obs, "number": index})
    return made


def noises(number, seed=1):
    return np.random.default_rng(seed).standard_normal((number, H, A), dtype=np.float32)


def actions_of(replies):
    return [reply["actions"].tobytes() for reply in replies]


@pytest.fixture
def local():
    with LocalPolicy(ToyPolicy(), "toy") as policy:
        yield policy


def wrapped(policy, **arguments):
    """Return a LocalPolicy that is closed already, to look at what it holds."""
    local = LocalPolicy(policy, "wrapped", **arguments)
    local.close()
    return local


# --- inference

NAMES = ["float32", "bfloat16_both", "int32_both", "boolean_activations_only", "int4_both"]


@pytest.mark.parametrize("max_batch", [1, 3, None])
@pytest.mark.parametrize("name", NAMES)
def test_results_do_not_depend_on_the_number_asked_for(name, max_batch):
    with LocalPolicy(ToyPolicy(), "toy", max_batch=max_batch) as local:
        local.set_precision(Precision.parse(name))
        obs, noise = observations(9), noises(9)
        one_by_one = actions_of([local.infer(o, n) for o, n in zip(obs, noise, strict=True)])
        assert len(set(one_by_one)) == 9
        assert actions_of(local.infer_batch(obs, noise)) == one_by_one
        assert (
            actions_of(local.infer_batch(obs[:4], noise[:4]) + local.infer_batch(obs[4:], noise[4:]))
            == one_by_one
        )
        back = slice(None, None, -1)
        assert actions_of(local.infer_batch(obs[back], noise[back]))[back] == one_by_one


@pytest.mark.parametrize("max_batch", [1, 2])
def test_two_threads_infer_at_a_time(max_batch):
    with LocalPolicy(ToyPolicy(), "toy", max_batch=max_batch) as local:
        local.infer(observations(1)[0])
        meet = threading.Barrier(2)
        compute = local.policy._infer

        def compute_together(obs, noise):
            meet.wait(timeout=30)  # breaks unless two are here at once
            return compute(obs, noise)

        local.policy._infer = compute_together
        local.policy.threads.clear()
        local.infer_batch(observations(4 * max_batch), noises(4 * max_batch))
        assert len(local.policy.threads) == 2
        assert threading.get_ident() not in local.policy.threads


@pytest.mark.parametrize("max_batch", [1, 3])
def test_the_order_of_replies_is_that_of_the_observations(max_batch):
    with LocalPolicy(ToyPolicy(), "toy", max_batch=max_batch) as local:
        obs = observations(20)
        for index in (2, 3, 11):
            obs[index]["prompt"] = "another"
        local.infer(obs[0])
        local.policy.infer_batch = lambda obs, noise: [{"actions": [[o["number"]]]} for o in obs]
        local.policy.infer = lambda obs, noise: {"actions": [[obs["number"]]]}
        replies = local.infer_batch(obs, noises(20))
        assert [reply["actions"].item() for reply in replies] == list(range(20))


def test_one_failing_observation_raises_and_the_next_batch_works(local):
    obs = observations(3)
    for broken in ([{"number": 1}, *obs[1:]], [obs[0], {"number": 1}, obs[2]]):
        with pytest.raises(KeyError):
            local.infer_batch(broken, noises(3))
    assert len(local.infer_batch(obs, noises(3))) == 3
    assert local.describe()["batch"] == 4


def test_batches_have_one_size_and_one_prompt():
    with LocalPolicy(ToyPolicy(), "toy", max_batch=4, threads=1) as local:
        obs, noise = observations(9), noises(9)
        local.infer(obs[0], noise[0])
        local.policy.batches.clear()
        obs[1]["prompt"] = obs[7]["prompt"] = "another"
        local.infer_batch(obs, noise)
        assert local.policy.batches == [[0, 2, 3, 4], [5, 6, 8, 8], [1, 7, 7, 7]]
        assert local.timing.calls == 4
        assert local.timing.observations == 10
        local.policy.batches.clear()
        local.policy.batch_key = lambda obs: obs["number"] < 5
        local.infer_batch(obs, noise)
        assert local.policy.batches == [[0, 1, 2, 3], [4, 4, 4, 4], [5, 6, 7, 8]]


def test_a_batch_computes_what_the_policy_would():
    plain = ToyPolicy()
    obs, noise = observations(6), noises(6)
    with LocalPolicy(ToyPolicy(), "toy", max_batch=4) as local, local.computing(), torch.inference_mode():
        for reply, o, n in zip(local.infer_batch(obs, noise), obs, noise, strict=True):
            np.testing.assert_allclose(reply["actions"], plain.infer(o, n)["actions"], atol=1e-5)


class ToyEntangled(ToyPolicy):
    """As on a machine whose matrix products treat rows differently."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def _infer(self, observations, noise):
        replies = super()._infer(observations, noise)
        for row, reply in enumerate(replies):
            mixed = np.float32(row) if self.how == "place" else replies[0]["actions"][0, 0]
            reply["actions"] = reply["actions"] + np.float32(1e-3) * mixed * (len(replies) > 1)
        return replies


@pytest.mark.parametrize("how", ["place", "company"])
def test_where_rows_depend_on_each_other_batches_have_one(how, caplog):
    with LocalPolicy(ToyEntangled(how), "entangled") as local:
        obs, noise = observations(6), noises(6)
        together = actions_of(local.infer_batch(obs, noise))
        assert "one by one" in caplog.text
        assert local.describe()["batch"] == 1
        assert actions_of([local.infer(o, n) for o, n in zip(obs, noise, strict=True)]) == together


def test_no_two_prompts_are_equal_where_the_state_is_in_them():
    policy = ToyPolicy()
    policy.config.model = type("ToyModelConfig", (), {"discrete_state_input": True})
    with LocalPolicy(policy, "toy") as local:
        assert local.describe()["batch"] == 1
    policy.batch_key = len
    with LocalPolicy(policy, "toy") as local:
        assert local.describe()["batch"] == 4


def test_noise(local):
    obs = observations(3)
    with pytest.raises(ValueError, match="noise has shape"):
        local.infer_batch(obs, noises(2))
    with pytest.raises(ValueError, match="noise has shape"):
        local.infer(obs[0], np.zeros((H, A + 1)))
    torch.manual_seed(5)
    together = actions_of(local.infer_batch(obs))
    torch.manual_seed(5)
    assert actions_of([local.infer(o) for o in obs]) == together
    assert len(set(together)) == 3
    assert actions_of(local.infer_batch(obs)) != together
    assert local.infer_batch([]) == []


def test_noise_is_drawn_for_one_observation_after_another():
    class ToyEcho:
        noise_shape = (3, 5)

        def infer(self, obs, noise):
            return {"actions": noise}

    with LocalPolicy(ToyEcho(), "echo") as local:
        torch.manual_seed(5)
        together = actions_of(local.infer_batch([{}] * 4))
        torch.manual_seed(5)
        assert actions_of([local.infer({}) for _ in range(4)]) == together


def test_replies(local):
    reply = local.infer(observations(1)[0], noises(1)[0])
    assert reply["actions"].dtype == np.float32
    assert reply["actions"].shape == (H, A)
    assert reply["policy_timing"] == {"infer_ms": 1.0}  # the policy's own


def test_timing(local):
    assert local.timing.calls == 0
    local.infer_batch(observations(5), noises(5))
    timing = local.timing
    assert (timing.calls, timing.observations) == (2, 5)
    assert 0 < timing.p50_ms <= timing.p95_ms <= timing.max_ms
    assert 0 < timing.mean_ms <= timing.max_ms
    local.set_precision(Precision("int8"))
    assert local.timing.calls == 0


def test_warmup(local):
    assert local.describe()["warmup_s"] is None
    state = torch.get_rng_state()
    seconds = local.warmup()
    assert seconds > 0
    assert local.describe()["warmup_s"] == seconds
    assert torch.equal(torch.get_rng_state(), state)
    assert local.timing.calls == 0
    assert local.policy.resets == 1
    assert len(local.policy.threads) >= 1
    assert local.warmup(observations(1)[0]) > 0


def test_torch_keeps_its_threads_but_while_a_policy_computes():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        first = LocalPolicy(ToyPolicy(), "first")  # which checks that it infers with one
        second = LocalPolicy(ToyPolicy(), "second")
        assert torch.get_num_threads() == 3
        second.infer_batch(observations(2), noises(2))
        second.set_precision(Precision("int8"))
        first.close()
        first.close()
        second.infer_batch(observations(9), noises(9))
        with second.computing():
            assert torch.get_num_threads() == 1
        second.close()
        assert torch.get_num_threads() == 3
        with pytest.raises(RuntimeError, match="closed"):
            second.infer(observations(1)[0], noises(1)[0])
    finally:
        torch.set_num_threads(before)


# --- precision


def test_every_precision_leaves_float32_as_it_was(local):
    obs, noise = observations(2), noises(2)
    fingerprint, float32 = local.fingerprint(), actions_of(local.infer_batch(obs, noise))
    results = {}
    for dtype in list(DTYPES)[1:]:
        for mode in MODES:
            precision = Precision(dtype, mode)
            assert local.set_precision(precision) > 0
            assert local.precision == precision
            assert local.fingerprint() == fingerprint
            results[precision.name] = actions_of(local.infer_batch(obs, noise))
            with LocalPolicy(ToyPolicy(), "fresh") as fresh:
                fresh.set_precision(precision)
                assert actions_of(fresh.infer_batch(obs, noise)) == results[precision.name]
    assert all(result != float32 for result in results.values())
    local.set_precision(Precision())
    assert actions_of(local.infer_batch(obs, noise)) == float32
    assert local.fingerprint() == fingerprint


def test_a_precision_has_a_name(local):
    for named, precision in (
        ("int8", Precision("int8")),
        ("int8_both", Precision("int8", "both")),
        (RoundToNearest(4, 8), Precision("rtn_w4a8")),
    ):
        local.set_precision(named)
        assert local.precision == precision
    with pytest.raises(UserError, match="did you mean int8"):
        local.set_precision("int9")


def test_a_variant_has_settings_that_the_policy_knows_and_the_next_one_has_its_own():
    class Adjustable(ToyPolicy):
        settings = None

        def configure(self, *, gain=1.0, engine="plain"):
            if gain < 0:
                raise UserError("the gain is negative")
            self.settings = {"gain": gain, "engine": engine}

    policy = Adjustable()
    with LocalPolicy(policy, "toy") as local:
        assert local.set_variant(Variant(Precision("int8"), {"gain": 2.0})) > 0
        assert (policy.settings, local.precision.dtype) == ({"gain": 2.0, "engine": "plain"}, "int8")
        local.set_variant(Variant(Precision("int4"), {"gain": 2.0}))
        assert (policy.settings, local.precision.dtype) == ({"gain": 2.0, "engine": "plain"}, "int4")
        with pytest.raises(UserError, match="unknown setting of policy toy 'gian': did you mean gain"):
            local.set_variant(Variant(Precision(), {"gian": 2.0}))
        with pytest.raises(UserError, match="negative"):
            local.set_variant(Variant(Precision(), {"gain": -1.0}))
        assert (policy.settings, local.precision.dtype) == ({"gain": 2.0, "engine": "plain"}, "float32")
        local.set_variant(Variant(Precision("int8")))
        assert (policy.settings, local.precision.dtype) == ({"gain": 1.0, "engine": "plain"}, "int8")


def test_a_policy_without_settings_takes_precisions_alone(local):
    with pytest.raises(UserError, match="unknown setting of policy toy 'flow_steps'; there are: none"):
        local.set_variant(Variant(Precision(), {"flow_steps": 5}))
    local.set_variant(Variant(Precision("int8")))
    assert local.precision == Precision("int8")


def test_one_observation_is_no_batch(local):
    with pytest.raises(TypeError, match="give a list of them, or call infer"):
        local.infer_batch(observations(1)[0])


def test_fingerprint_sees_a_single_bit_anywhere():
    assert wrapped(ToyPolicy(0)).fingerprint() == wrapped(ToyPolicy(0)).fingerprint()
    assert wrapped(ToyPolicy(0)).fingerprint() != wrapped(ToyPolicy(1)).fingerprint()
    policy = ToyPolicy()
    with LocalPolicy(policy, "toy") as local:
        before = local.fingerprint()
        policy.model.bias_of_state.view(torch.int32)[3] ^= 1
        buffer = local.fingerprint()
        with torch.no_grad():
            policy.model.mix.weight.view(torch.int32)[3, 3] ^= 1
        assert len({before, buffer, local.fingerprint()}) == 3
        policy.model.bfloat16()
        assert local.fingerprint() not in {before, buffer}


def test_close_restores():
    policy = ToyPolicy()
    local = LocalPolicy(policy, "toy")
    before = local.fingerprint()
    local.set_precision(Precision("boolean", "both"))
    local.close()
    assert wrapped(policy).fingerprint() == before
    assert not any(module._forward_hooks for module in policy.model.modules())


class ToyBypass(ToyPolicy):
    """Computes with its weights, but calls no module."""

    def _infer(self, observations, noise):
        weight = self.model.velocity.weight
        return [{"actions": (torch.ones(H, weight.shape[1]) @ weight.T).numpy()} for _ in observations]


@pytest.mark.parametrize("max_batch", [1, 4])
def test_activations_are_never_skipped_silently(max_batch):
    obs, noise = observations(2), noises(2)
    with LocalPolicy(ToyBypass(), "bypass", max_batch=max_batch) as local:
        for mode in ("activations_only", "both"):
            local.set_precision(Precision("int8", mode))
            for infer in (
                local.warmup,
                lambda: local.infer_batch(obs, noise),
                lambda: local.infer(obs[0], noise[0]),
            ):
                with pytest.raises(UserError, match="reached none of the 4 modules"):
                    infer()
        local.set_precision(Precision("int8"))
        assert local.infer_batch(obs, noise)


def test_describe_precision(local):
    assert local.describe_precision()["name"] == "float32"
    local.policy.model.never = nn.Linear(2, 2)
    local.set_precision(Precision("int8", "both", Scope("mix|never")))
    local.warmup()
    described = local.describe_precision()
    assert (described["hooked"], described["fired"], described["unfired"]) == (2, 1, ["never"])
    assert described["parameters"] == 40 * 64 + 64 + 4 + 2
    json.dumps(described)


def test_a_precision_that_cannot_be_leaves_float32(local):
    before = local.fingerprint()
    local.set_precision(Precision("int8"))
    with pytest.raises(UserError, match="matches no"):
        local.set_precision(Precision("int4", scope=Scope("nowhere")))
    assert local.precision == Precision()
    assert local.fingerprint() == before
    local.set_precision(Precision("int4"))


# --- other people's policies


def test_any_object_with_infer():
    policy = ToyForeign()
    with LocalPolicy(policy, "foreign") as local:
        assert local.noise_shape is None
        assert local.open_loop_horizon == 8
        replies = local.infer_batch(observations(3))
        assert [reply["actions"].tolist() for reply in replies] == [[[i, 0.5]] for i in range(3)]
        assert replies[0]["actions"].dtype == np.float32
        assert replies[0]["policy_timing"]["infer_ms"] >= 0
        # It may keep a state: in order, and on the caller's thread.
        assert policy.calls == [(i, threading.get_ident()) for i in range(3)]
        with pytest.raises(ValueError, match="takes no noise"):
            local.infer(observations(1)[0], np.zeros((H, A)))
        with pytest.raises(UserError, match="pass warmup an observation"):
            local.warmup()
        assert local.warmup(observations(1)[0]) > 0
        local.reset()


def test_no_torch_model_no_precision():
    with LocalPolicy(ToyForeign(), "foreign") as local:
        local.set_precision(Precision())
        with pytest.raises(UserError, match="holds no torch model"):
            local.set_precision(Precision("int8", "activations_only"))
        assert local.fingerprint() is None
        assert local.describe()["parameters"] == 0


def test_the_model_is_found_wherever_it_is():
    net, other = nn.Linear(2, 2), nn.Linear(3, 3)
    assert wrapped(ToyForeign(net)).module is net
    assert wrapped(ToyForeign(), module=other).module is other

    class ToyWrapper(ToyForeign):
        def __init__(self):
            super().__init__()
            self._policy = ToyForeign(net)

    assert wrapped(ToyWrapper()).module is net
    policy = ToyForeign(net)
    policy.encoder = other
    found = wrapped(policy).module
    assert {id(p) for p in found.parameters()} == {id(p) for m in (net, other) for p in m.parameters()}

    class ToyModule(nn.Linear):
        def infer(self, obs):
            return {"actions": self(torch.ones(1, 2))}

    module = ToyModule(2, 2)
    with LocalPolicy(module, "toy") as local:
        assert local.module is module
        assert local.infer({})["actions"].shape == (1, 2)


def test_a_model_is_found_wherever_a_policy_keeps_it():
    def linear():
        return torch.nn.Linear(2, 2)

    class Agent:
        def __init__(self, **parts):
            self.__dict__.update(parts)

        def infer(self, obs):
            return {"actions": [[0.0]]}

    net = linear()
    agent = Agent(inner=Agent(net=net, again=net), data=[0] * 2000, module=torch, kind=Agent)
    agent.inner.outer = agent  # a circle
    assert LocalPolicy(agent, "one").module is net
    several = Agent(
        head=linear(), encoders={"left": linear(), "right": [linear()]}, _policy=Agent(body=linear())
    )
    names = {name.rpartition(".")[0] for name, _ in LocalPolicy(several, "several").module.named_parameters()}
    assert names == {"head", "encoders_left", "encoders_right_0", "_policy_body"}
    assert LocalPolicy(Agent(), "none").module is None


def test_what_is_no_policy():
    with pytest.raises(UserError, match="has no infer"):
        LocalPolicy(object(), "nothing")
    policy = ToyForeign()
    policy.infer = lambda obs: [1, 2]
    with LocalPolicy(policy, "list") as local, pytest.raises(UserError, match="without 'actions'"):
        local.infer({})


def test_describe(local):
    described = local.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["name"] == "toy"
    assert described["config"] == "toy"
    assert described["class"].endswith("ToyPolicy")
    assert described["parameters"] == sum(p.numel() for p in local.module.parameters())
    assert described["dtype"] == "float32"
    assert described["device"] == "cpu"
    assert described["open_loop_horizon"] == 3
    assert described["noise_shape"] == [H, A]
    assert described["fingerprint"] == local.fingerprint()


# --- load_policy


def test_baselines_by_name():
    obs = observations(1)[0]
    obs["observation/gripper_position"] = np.array([0.25], np.float32)
    here = np.r_[obs["observation/joint_position"], np.float32(0.25)]
    with load_policy("zero") as zero:
        assert zero.warmup() > 0
        actions = zero.infer(obs)["actions"]
        assert actions.shape == (8, 8)
        assert (actions == here).all()
        assert (zero.infer({"observation/state": np.ones(8)})["actions"] == np.zeros((8, 7))).all()
    with load_policy("random") as random:
        noise = np.random.default_rng(0).standard_normal(random.noise_shape, dtype=np.float32)
        actions = random.infer(obs, noise)["actions"]
        assert actions.shape == (8, 8)
        assert set(actions[:, -1]) <= {0.0, 1.0}
        assert 0 < np.abs(np.diff(actions[:, :7], axis=0)).max() < 0.5
        assert actions_of([random.infer(obs, noise)]) == [actions.tobytes()]
        assert actions_of([random.infer(obs, -noise)]) != [actions.tobytes()]
        assert np.abs(random.infer({"observation/state": np.ones(8)}, noise)["actions"]).max() <= 1
        with pytest.raises(UserError, match="no torch model"):
            random.set_precision(Precision("int8"))


def test_exports():
    assert headless_eval.load_policy is load_policy
    assert headless_eval.Precision is Precision
    assert {"load_policy", "list_policies", "quantize_"} <= set(dir(headless_eval))
    with pytest.raises(AttributeError, match="nothing"):
        headless_eval.nothing  # noqa: B018
    code = "import sys, headless_eval as h; h.list_policies(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"policy": "pi0-droid-tinny"},
            "unknown policy 'pi0-droid-tinny': did you mean pi0-droid-tiny\\? There are: .*zero",
        ),
        ({"policy": "pi05_droid"}, "--checkpoint DIR --config pi05_droid"),
        ({"policy": "zero", "config": "pi0_droid"}, "leave them out"),
        ({"policy": __file__}, "is a file"),
        ({"policy": str(Path(__file__).parent)}, "has no configuration"),
        ({"checkpoint": "/nowhere", "config": "pi0_droid"}, "no checkpoint at /nowhere"),
        (
            {"checkpoint": Path(__file__).parent, "config": "pi0_droit"},
            "unknown config 'pi0_droit': did you mean",
        ),
        ({"checkpoint": Path(__file__).parent}, "name one with --config"),
        (
            {"checkpoint": Path(__file__).parent, "config": "pi0_droid", "config_file": "x"},
            "one configuration",
        ),
        (
            {"checkpoint": Path(__file__).parent, "config_file": "/nowhere.toml"},
            "no configuration at /nowhere",
        ),
        ({"config": "pi05_droid"}, "not that of the bundled policy pi0-droid-tiny: .*--checkpoint DIR"),
        ({"policy": "zero", "device": "gpu"}, "unknown device 'gpu'"),
        ({"policy": "zero", "device": "mps"}, "unknown device 'mps'"),
        ({"policy": "zero", "device": "cuda:99"}, "no device 'cuda:99'"),
        ({"policy": "zero", "dtype": "float8"}, "unknown weight dtype 'float8'"),
        ({"policy": "zero", "flow_steps": 0}, "must be 1 or more"),
        ({"policy": "zero", "max_batch": 0}, "must be 1 or more"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(UserError, match=message):
        load_policy(**arguments)


def test_list_policies():
    assert {"zero", "random"} <= set(list_policies())


GOLDEN_CASES = ("pi0_droid", "pi05_droid", "pi0_libero", "pi05_libero")


@pytest.fixture(scope="module", params=GOLDEN_CASES)
def golden(request):
    """Yield the arguments that load a golden checkpoint, its observations, noise and actions."""
    folder = GOLDEN / "openpi_pytorch" / request.param
    if not folder.exists():
        pytest.skip(f"{folder} is missing: the reference policies' outputs are not on this machine")
    arguments = {
        "checkpoint": folder / "checkpoint",
        "config_file": folder / "meta.json",
        "tokenizer": GOLDEN / "tokenizer.model",
    }
    prompts = json.loads((folder / "meta.json").read_text())["prompts"]
    with np.load(folder / "io.npz") as arrays:
        obs = [
            {"prompt": prompt}
            | {key.split("/obs/")[1]: arrays[key] for key in arrays.files if key.startswith(f"{index}/obs/")}
            for index, prompt in enumerate(prompts)
        ]
        noise, actions = (
            np.stack([arrays[f"{index}/{what}"] for index in range(len(prompts))])
            for what in ("noise", "actions")
        )
    return arguments, obs, noise, actions


def test_golden_policies(golden):
    arguments, obs, noise, expected = golden
    with load_policy(**arguments) as local:
        assert local.warmup() > 0
        fingerprint = local.fingerprint()
        replies = local.infer_batch(obs, noise)
        np.testing.assert_allclose([reply["actions"] for reply in replies], expected, rtol=1e-5, atol=1e-5)
        float32 = actions_of(replies)
        for name in ("float8_e4m3_both", "boolean_activations_only", "int8_weights_only"):
            local.set_precision(Precision.parse(name))
            quantized = actions_of(local.infer_batch(obs, noise))
            assert actions_of([local.infer(o, n) for o, n in zip(obs, noise, strict=True)]) == quantized
            assert quantized != float32
            described = local.describe_precision()
            assert described["unfired"] == []
            assert described["hooked"] == (0 if "weights" in name else described["fired"])
        local.set_precision(Precision())
        assert actions_of(local.infer_batch(obs, noise)) == float32
        assert local.fingerprint() == fingerprint


def test_flow_steps_and_weight_types(golden):
    arguments, obs, noise, expected = golden
    with load_policy(**arguments, flow_steps=3, max_batch=1) as local:
        fewer = local.infer(obs[0], noise[0])["actions"]
    assert np.abs(fewer - expected[0]).max() > 1e-4
    with load_policy(**arguments, dtype="bfloat16", max_batch=1) as local:
        assert local.describe()["dtype"] == "bfloat16"
        half = local.infer(obs[0], noise[0])["actions"]
    assert 1e-5 < np.abs(half - expected[0]).max() < 0.5 * np.abs(expected[0]).max()


def test_a_folder_of_its_own(golden, tmp_path):
    arguments, obs, noise, _ = golden
    with load_policy(**arguments) as local:
        before, actions = local.fingerprint(), actions_of(local.infer_batch(obs, noise))
        local.policy.save(tmp_path / "mine")
    with load_policy(tmp_path / "mine") as local:
        assert local.name == "mine"
        assert local.fingerprint() == before
        assert actions_of(local.infer_batch(obs, noise)) == actions
    (tmp_path / "mine" / "config.toml").unlink()
    with pytest.raises(UserError, match="has no configuration"):
        load_policy(tmp_path / "mine")


@pytest.mark.skipif("pi0-droid-tiny" not in list_policies(), reason="the bundled policy is not there yet")
def test_the_bundled_policy():
    with load_policy() as local:
        assert local.name == "pi0-droid-tiny"
        local.set_precision(Precision("float8_e4m3", "both"))
        assert local.warmup() > 0
        obs, noise = (
            [ROBOTS["droid"].example_observation()] * 5,
            np.zeros((5, *local.noise_shape), np.float32),
        )
        replies = local.infer_batch(obs, noise)
        assert {reply["actions"].shape for reply in replies} == {(10, 8)}
        assert len(set(actions_of(replies))) == 1
        assert local.describe_precision()["unfired"] == []
        assert local.describe()["batch"] > 1
