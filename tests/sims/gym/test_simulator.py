"""A Gymnasium environment as a simulator."""

import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install 'headless-eval[gym]'")

from toy_suite import Line, make_suite

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.errors import UserError


def start(simulator, slot=0, episode=0):
    simulator.reset(slot, simulator.tasks[0], TrialSeed(7, 1, episode))


def test_observations_have_the_robots_keys_and_are_copies():
    simulator = make_suite().make()
    start(simulator)
    (seen,) = simulator.observe([0])
    assert seen["observation/image"].shape == (8, 16, 3)
    assert seen["observation/state"].dtype == np.float32
    assert seen["mark"] == seen["observation/state"][1:]
    assert seen["prompt"] == "go to the mark"
    seen["observation/image"][:] = 7
    assert not np.array_equal(simulator.observe([0])[0]["observation/image"], seen["observation/image"])
    assert simulator.frame(0).shape == (32, 64, 3)


def test_an_episode_depends_on_its_seed_and_its_actions_alone():
    paths = []
    for slots, slot, before in ((1, 0, None), (3, 2, 5)):
        simulator = make_suite().make(num_slots=slots)
        if before is not None:  # another episode in the same slot, and one beside
            start(simulator, slot, before)
            simulator.step({slot: np.array([0.1], np.float32)})
            start(simulator, 0, 9)
        start(simulator, slot)
        path = []
        for _ in range(4):
            simulator.step({one: np.array([0.02], np.float32) for one in range(slots) if one in (0, slot)})
            path.append(simulator.observe([slot])[0]["observation/state"])
        paths.append(path)
        simulator.close()
    assert np.array_equal(*paths)


def test_success_metrics_and_the_end_of_an_episode():
    simulator = make_suite().make()
    start(simulator)
    position, mark = simulator.observe([0])[0]["observation/state"]
    first = simulator.step({0: np.array([0.5 * (mark - position)], np.float32)})[0]
    assert not first.success
    assert not first.over
    position, _ = simulator.observe([0])[0]["observation/state"]
    second = simulator.step({0: np.array([mark - position], np.float32)})[0]
    assert second.success
    assert second.metrics["return"] == pytest.approx(-first.metrics["distance"] - second.metrics["distance"])
    out = simulator.step({0: np.array([3.0], np.float32)})[0]
    assert (out.success, out.over, out.fault) == (False, True, None)


def test_a_fault_ends_its_episode_and_gives_the_slot_a_new_environment():
    simulator = make_suite().make(num_slots=2)
    start(simulator, 0)
    start(simulator, 1)
    made = Line.made
    results = simulator.step({0: np.array([180.0], np.float32), 1: np.array([0.0], np.float32)})
    assert str(results[0].fault) == "too fast"
    assert results[1].fault is None
    start(simulator, 0)
    start(simulator, 1)
    assert Line.made == made + 1
    assert simulator.max_action == 400


def test_several_tasks():
    suite = make_suite(lambda key: Line(), {"near": "go near", "far": "go far"})
    near, far = suite.load_tasks()
    assert [(near.id, near.key), (far.id, far.key)] == [(1, "near"), (2, "far")]
    simulator = suite.make(tasks=(far,))
    simulator.reset(0, far, TrialSeed(7, 2, 0))
    assert simulator.observe([0])[0]["prompt"] == "go far"


def test_an_environment_that_never_tells_success_is_an_error():
    simulator = make_suite(lambda: Line(tells_success=False), max_steps=2).make()
    start(simulator)
    still = {0: np.zeros(1, np.float32)}
    assert simulator.step(still)[0].fault is None
    assert "no 'is_success', which tells success" in str(simulator.step(still)[0].fault)


def broken():
    import no_such_simulator  # noqa: F401


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"make": broken, "package": "headless-eval[toy]"}, r"no_such_simulator.*headless-eval\[toy\]"),
        ({"make": lambda: Line(render_mode=1 / 0)}, "cannot make its environment .ZeroDivisionError"),
        ({"make": "no_such_environment-v0"}, "cannot make its environment .*no_such_environment"),
        ({"pictures": {"observation/image": "top"}}, "no 'top'; there is 'state', 'pixels'"),
        ({"pictures": {"observation/image": "state"}}, r"picture 'state' is float64 \(2,\)"),
        (
            {"state": {"observation/state": "pixels"}},
            "'observation/state' has 384 dimensions, the robot toy_point 2",
        ),
        ({"pictures": {}}, "where the pictures of the robot toy_point come from"),
    ],
)
def test_what_does_not_fit_is_told_before_a_run(changes, message):
    with pytest.raises(UserError, match=message):
        make_suite(**changes).make()


def test_another_robot_of_the_same_name_is_refused():
    from dataclasses import replace

    from toy_suite import ROBOT

    from headless_eval import GymSuite

    with pytest.raises(UserError, match="another robot named 'toy_point'"):
        GymSuite(Line, replace(ROBOT, control_hz=3.0), "go", "is_success", name="other", max_steps=3)
