"""Pitfalls that the replies to first observations show, each with a broken twin."""

import numpy as np
import pytest
from pitfall_cases import EXTERIOR, GRIPPER, JOINTS, WRIST, Keeper, Shown, Wrapped, evidence, findings

from headless_eval.policies.checks import FAILED, OK, UNKNOWN, WARNING
from headless_eval.runs.pitfalls import replies


def with_state(factor):
    def act(obs, chunk):
        chunk[:, :7] += factor * obs[JOINTS]
        return chunk

    return act


def gripper(change):
    def act(obs, chunk):
        chunk[:, 7] = change(chunk[:, 7])
        return chunk

    return act


def inside(picture):
    """A picture cut at its edges and scaled back, roughly as OpenVLA crops."""
    cut = picture[2:-2, 2:-2]
    return cut[np.linspace(0, len(cut) - 1, len(picture)).round().astype(int)][:, :64]


def test_a_policy_that_keeps_the_conventions_is_no_finding():
    found = findings()
    assert {one.status for key, one in found.items() if key not in ("turned", "cameras")} == {OK}


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Wrapped(act=with_state(-1)), "changes or velocities"),
        (Wrapped(act=with_state(1)), "added to actions that are absolute"),
        (Wrapped(act=lambda obs, chunk: 40 * chunk), "away from where the robot is"),
    ],
)
def test_relative_for_absolute_actions_and_another_scale_are_found(policy, told):
    found = findings(policy)["relative"]
    assert found.status in (FAILED, WARNING)
    assert told in found.text


class Says:
    """A policy that always says the same."""

    stateless, open_loop_horizon = True, 5

    def __init__(self, *action):
        self._action = action

    def infer(self, obs):
        return {"actions": np.tile(self._action, (10, 1))}


def libero(*action):
    state = np.array([-0.05, 0.03, 0.17, 3.14, 0.0, -0.08, 0.0388, -0.0388], np.float32)
    shown = {"observation/state": state, "prompt": "put the bowl on the plate"}
    return evidence(Says(*action), Shown(shown), suite="libero_object")


def test_a_pose_where_a_change_is_due_is_found():
    found = replies.relative_or_absolute(libero(-0.04, 0.03, 0.2, 3.1, 0.0, -0.1, -1))
    assert found.status == FAILED
    assert "absolute" in found.text
    assert replies.relative_or_absolute(libero(0.9, -1, 1, 0.1, 0, 0, -1)).status == OK


@pytest.mark.parametrize(
    ("change", "told"),
    [(lambda g: 1 - g, "close the gripper"), (lambda g: 255 * (1 - g), "told 255 to 255")],
)
def test_a_gripper_of_another_sign_or_range_is_found(change, told):
    found = findings(Wrapped(act=gripper(change)))["gripper"]
    assert found.status == WARNING
    assert told in found.text


def test_a_gripper_of_minus_one_to_one_is_found():
    assert replies.gripper(libero(0, 0, 0, 0, 0, 0, 1)).status == WARNING
    assert replies.gripper(libero(0, 0, 0, 0, 0, 0, -1)).status == OK


@pytest.mark.parametrize(
    ("observe", "told"),
    [
        (lambda obs: {**obs, WRIST: 0 * obs[WRIST]}, f"the camera {WRIST}"),
        (lambda obs: {**obs, JOINTS: 0 * obs[JOINTS], GRIPPER: 0 * obs[GRIPPER]}, "the state"),
        (lambda obs: {**obs, "prompt": "put the cube in the bowl"}, "the instruction"),
    ],
)
def test_a_part_of_the_observation_that_is_not_sent_is_found(observe, told):
    found = findings(Wrapped(observe))["unread"]
    assert found.status == WARNING
    assert told in found.text


def test_a_policy_that_reads_nothing_is_found():
    found = findings(Wrapped(act=lambda obs, chunk: 0 * chunk))
    assert "whatever is observed" in found["unread"].text
    assert found["crop"].status == found["turned"].status == UNKNOWN


def test_pictures_that_are_cropped_are_found():
    found = findings(Wrapped(lambda obs: {**obs, **{key: inside(obs[key]) for key in (EXTERIOR, WRIST)}}))[
        "crop"
    ]
    assert found.status == WARNING
    assert "cropped" in found.text


def test_a_policy_with_a_history_is_asked_from_its_beginning():
    class Remembers(Keeper):
        stateless = False

        def reset(self):
            self.asked = 0

        def infer(self, obs):
            self.asked += 1
            return {"actions": super().infer(obs)["actions"] * self.asked}

    assert findings(Remembers())["unread"].status == OK
