"""Rehearsals: what is altered so that failing episodes succeed is what was broken."""

import numpy as np
import pytest
from pitfall_cases import EXTERIOR, JOINTS, WRIST, Arm, Keeper, Shown, Wrapped, evidence, findings, picture

from headless_eval.policies.checks import FAILED, OK, UNKNOWN
from headless_eval.runs.pitfalls.rehearsal import alterations, rehearse


def pictures(change):
    return lambda obs: {**obs, **{key: np.ascontiguousarray(change(obs[key])) for key in (EXTERIOR, WRIST)}}


def gripper_turned(obs, chunk):
    chunk[:, 7] = 1 - chunk[:, 7]
    return chunk


def state_added(obs, chunk):
    chunk[:, :7] += obs[JOINTS]
    return chunk


def test_a_policy_that_succeeds_has_no_pitfall():
    assert {one.status for one in findings(seconds=60).values()} == {OK}


@pytest.mark.parametrize(
    ("policy", "pitfall", "told"),
    [
        (Wrapped(pictures(lambda p: p[::-1, ::-1])), "turned", "turned by 180°"),
        (Wrapped(pictures(lambda p: p[:, ::-1])), "turned", "mirrored"),
        (Wrapped(pictures(lambda p: p[..., ::-1])), "turned", "red and blue"),
        (Wrapped(lambda obs: {**obs, EXTERIOR: obs[WRIST], WRIST: obs[EXTERIOR]}), "cameras", "swapped"),
        (Wrapped(act=gripper_turned), "gripper", "sign turned"),
        (Wrapped(act=state_added), "relative", "subtracted"),
        (Keeper(uses_quantiles=True), "quantiles", "mean and deviation for normalisation"),
    ],
)
def test_every_broken_twin_is_caught(policy, pitfall, told):
    found = findings(policy, seconds=60)
    assert found[pitfall].status == FAILED
    assert told in found[pitfall].text
    assert "0 of 3 episodes succeed as it is, 3 of 3 with" in found[pitfall].text


def test_instructions_in_another_form_are_caught():
    found = findings(simulator=Arm("Put_the_cube_in_the_bowl"), seconds=60)["prompt"]
    assert found.status == FAILED
    assert "plain instructions" in found.text


def test_a_policy_that_nothing_helps_cannot_be_told():
    found = findings(Wrapped(act=lambda obs, chunk: -chunk), seconds=60)["turned"]
    assert found.status == UNKNOWN
    assert "nor with" in found.text
    assert found.change


def test_without_time_nothing_is_claimed():
    for seconds in (0.0, 1e-9):
        found = findings(seconds=seconds)
        assert found["turned"].status == found["cameras"].status == UNKNOWN
        assert "--seconds" in found["turned"].change


def test_episodes_that_break_are_told():
    class Breaks(Arm):
        def step(self, actions):
            raise RuntimeError("the arm fell off")

    found = findings(simulator=Breaks(), seconds=60)["turned"]
    assert found.status == UNKNOWN
    assert "the arm fell off" in found.text


def test_what_is_suspected_is_altered_first():
    names = [way.pitfall for way in alterations(evidence())]
    assert names[0] == "turned"
    assert {"turned", "gripper", "relative", "quantiles", "cameras"} == set(names)


def test_one_camera_cannot_be_swapped():
    class Still:
        stateless = True

        def infer(self, obs):
            return {"actions": np.zeros((4, 7))}

    shown = Shown(
        {"observation/state": np.zeros(8, np.float32), "observation/image": picture(1), "prompt": "pick"}
    )
    assert rehearse(evidence(Still(), shown, suite="simpler_bridge"), {}, 0)["cameras"].status == OK
