"""Pitfalls that the normalisation statistics show, each with a broken twin."""

import json
from importlib.resources import files

import numpy as np
import pytest
from pitfall_cases import HOME, Keeper, Shown, Wrapped, evidence, findings, stats

from headless_eval.policies.checks import FAILED, OK, UNKNOWN, WARNING
from headless_eval.policies.norm_stats import NormStats, make_norm_stats
from headless_eval.policies.open_pi_zero.adapters import bridge_state
from headless_eval.policies.registry import BUNDLED
from headless_eval.runs.pitfalls import statistics

# Where SimplerEnv's original puts Google's robot at first: position, quaternion (w last), closedness.
GOOGLE = np.array([0.439, -0.218, 0.962, -0.604, 0.780, -0.032, 0.160, 0.0])
# The WidowX: position, quaternion (w first), openness; its policy knows the rotation by three angles.
WIDOWX = np.array([0.292, -0.006, 0.135, 0.6867, 0.0053, 0.7269, -0.0081, 1.0])
LIBERO = np.array([-0.05, 0.03, 0.17, 3.14, 0.0, -0.08, 0.0388, -0.0388])
STILL = np.tile(HOME, (10, 1))


class Reader:
    """A policy that does nothing but show its statistics."""

    stateless, open_loop_horizon = True, 1

    def __init__(self, path):
        table = json.loads(path.read_text("utf-8"))["norm_stats"]
        self.norm_stats = make_norm_stats(table)

    def infer(self, obs):
        return {"actions": np.zeros((4, 7))}


def google(state):
    path = files("headless_eval.policies.open_pi_zero") / "statistics" / "fractal.json"
    return evidence(Reader(path), Shown(observed(state)), suite="simpler_fractal")


def widowx(state):
    policy = Reader(files("headless_eval.policies.open_pi_zero") / "statistics" / "bridge.json")
    policy.state_numbers = lambda obs: bridge_state(obs["observation/state"].astype(float))
    return evidence(policy, Shown(observed(state)), suite="simpler_bridge")


def libero(state):
    path = BUNDLED / "pi0-libero-tiny" / "assets" / "libero" / "norm_stats.json"
    return evidence(Reader(path), Shown(observed(state)), suite="libero_object")


def observed(state):
    return {"observation/state": np.asarray(state, np.float32), "prompt": "pick coke can"}


def test_states_of_training_are_no_finding():
    for probe in (statistics.another_robot, statistics.rotation):
        assert probe(google(GOOGLE)).status == OK
        assert probe(libero(LIBERO)).status == OK
        assert probe(widowx(WIDOWX)).status == OK
    assert findings()["another_robot"].status == OK


def test_statistics_of_another_robot_are_found():
    others = {**Keeper().norm_stats, "state": stats(np.roll(HOME, 3), [0.3] * 8, 0.4)}
    found = findings(Keeper(norm_stats=others))["another_robot"]
    assert found.status == WARNING
    assert "joint_4 is -2.4" in found.text
    moved = LIBERO + np.array([0, 0, 0.9, 0, 0, 0, 0, 0])  # the table of another scene
    assert "z is 1.07" in statistics.another_robot(libero(moved)).text


@pytest.mark.parametrize(
    ("make", "state", "told"),
    [
        (google, np.r_[GOOGLE[:3], np.roll(GOOGLE[3:7], 1), 0.0], "w last instead of first"),
        (widowx, np.r_[WIDOWX[:3], np.roll(WIDOWX[3:7], -1), 1.0], "w first instead of last"),
        (
            libero,
            np.r_[LIBERO[:3], LIBERO[3:6] * (1 - 2 * np.pi / np.linalg.norm(LIBERO[3:6])), LIBERO[6:]],
            "other side",
        ),
    ],
)
def test_a_rotation_written_otherwise_is_found_and_told_how(make, state, told):
    found = statistics.rotation(make(state))
    assert found.status == FAILED
    assert told in found.text
    assert statistics.another_robot(make(state)).status == OK  # one fault, one finding


def test_the_sign_of_a_quaternion_that_training_always_had_is_found():
    shown = google(-GOOGLE * [-1, -1, -1, 1, 1, 1, 1, -1])
    seen = np.tile(GOOGLE, (2, 1))
    shown.policy.policy.norm_stats = {"state": NormStats(seen[0], seen[0] * 0, seen[0] - 0.1, seen[0] + 0.1)}
    assert "the other sign" in statistics.rotation(shown).text


def test_a_quaternion_that_is_none_is_found():
    assert statistics.rotation(google(GOOGLE * 0.5)).status == FAILED


def test_statistics_of_fewer_numbers_than_the_state_are_found():
    short = stats(np.zeros(6), np.ones(6), 0.4)
    found = findings(
        Keeper(norm_stats={**Keeper().norm_stats, "state": short}, infer=lambda obs: {"actions": STILL})
    )
    assert found["another_robot"].status == WARNING
    assert "of 6 numbers, the state has 8" in found["another_robot"].text
    shown = libero(LIBERO)
    shown.policy.policy.norm_stats = {"state": short}
    assert statistics.rotation(shown).status == UNKNOWN


def test_quantiles_for_mean_and_deviation_are_found_by_the_size_of_what_the_model_says():
    far = stats([0] * 7 + [0.5], [0.05] * 7 + [0.5], 0.4)

    class Far(Keeper):
        def __init__(self, **changed):
            super().__init__(**changed)
            self._trained = self.norm_stats = {**self.norm_stats, "actions": far}

    assert findings(Far())["quantiles"].status == OK
    found = findings(Far(uses_quantiles=True))["quantiles"]
    assert found.status == WARNING
    assert "beyond 1.5" in found.text


@pytest.mark.parametrize(
    ("pi05", "by_quantiles", "status"), [(True, True, OK), (False, True, WARNING), (True, False, WARNING)]
)
def test_a_family_s_other_way_of_normalising_is_told(pi05, by_quantiles, status):
    from types import SimpleNamespace

    keeper = Keeper(uses_quantiles=by_quantiles, trained_with_quantiles=by_quantiles)
    keeper.config.model = SimpleNamespace(pi05=pi05)
    assert findings(keeper)["quantiles"].status == status


def test_what_a_policy_does_not_show_cannot_be_told():
    found = findings(Wrapped())
    assert found["another_robot"].status == found["quantiles"].status == UNKNOWN
    assert found["another_robot"].change


def test_the_other_normalisation_turns_a_flipped_policy_right():
    flipped, healthy = evidence(Keeper(uses_quantiles=True)), evidence()
    observe, act = statistics.other_normalisation(flipped)
    obs = flipped.observations[0]
    said = flipped.policy.infer(observe(obs))["actions"]
    np.testing.assert_allclose(act(obs, np.asarray(said, float)), healthy.replies[0], atol=1e-5)
