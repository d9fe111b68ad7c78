"""The success predicate and where bodies are put, without physics."""

from dataclasses import replace

import numpy as np
import pytest
from situations import moved, moving, settled, steps_to_success, turned

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.sims.droid.geometry import rotation, yaw_quat
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.sims.droid.success import REST_STEPS
from headless_eval.sims.droid.tabletop import ROBOT

CONTAINER = np.array([0.5, 0.2, 0.0, *yaw_quat(0.7)])


def _settled(scene, lift=0.012):
    """The target in the middle of the container, the open gripper well above."""
    target = CONTAINER.copy()
    target[2] = lift
    return settled(target, CONTAINER)


def _tracker(scene):
    return scene.tracker(scene.draw(np.random.default_rng(0)))


each_scene = pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"scene_{scene.id}")


@each_scene
def test_inside_released_and_at_rest_for_half_a_second_is_success(scene):
    assert REST_STEPS / 15 >= 0.5
    assert steps_to_success(_tracker(scene), _settled(scene)) == REST_STEPS


@each_scene
@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: moved(s, by=(0, 0, 0.09)),  # above the rim
        lambda s: moved(s, by=(0.2, 0, 0)),  # beside it
        lambda s: moving(s, [0, 0, 0.05, 0, 0, 0]),
        lambda s: moving(s, [0, 0, 0, 0, 1.0, 0]),
        lambda s: replace(s, tcp=s.target_pose[:3] + np.array([0, 0, 0.03]), gripper_position=0.9),  # held
        lambda s: turned(s, [np.sqrt(0.5), np.sqrt(0.5), 0, 0], index=1),  # container lying on its side
    ],
    ids=["above", "beside", "moving", "turning", "held", "tipped"],
)
def test_anything_less_is_not(scene, spoil):
    assert steps_to_success(_tracker(scene), spoil(_settled(scene))) is None


@each_scene
def test_the_half_second_starts_anew_after_a_disturbance(scene):
    tracker, rest = _tracker(scene), _settled(scene)
    for _ in range(REST_STEPS - 1):
        assert not tracker.update(rest)
    assert not tracker.update(moving(rest, [0.1, 0, 0, 0, 0, 0]))
    for _ in range(REST_STEPS - 1):
        assert not tracker.update(rest)
    assert tracker.update(rest)


@each_scene
def test_a_closed_gripper_far_away_has_released(scene):
    situation = replace(_settled(scene), gripper_position=1.0)
    assert steps_to_success(_tracker(scene), situation) == REST_STEPS


@each_scene
@pytest.mark.parametrize(("touched", "step"), [(False, REST_STEPS), (True, None)])
def test_a_target_that_the_robot_touches_is_not_let_go_of(scene, touched, step):
    """An open hand around the cube, at 7 cm less than the cube's diagonal, holds it however wide it is."""
    held = replace(
        _settled(scene),
        tcp=_settled(scene).target_pose[:3] + np.array([0, 0, 0.03]),
        gripper_position=0.15,
        contacts=np.array([(ROBOT, 0) if touched else (ROBOT, 1)]),
    )
    assert steps_to_success(_tracker(scene), held) == step


@each_scene
@pytest.mark.parametrize("height", [-0.75, 0.3, 0.02, -0.02], ids=["floor", "mid-air", "raised", "sunk"])
def test_a_container_that_does_not_stand_where_it_stood_is_no_goal(scene, height):
    """Both on the floor, or both held in the air."""
    tracker, rest = _tracker(scene), _settled(scene)
    tracker.update(moving(rest, [0.1, 0, 0, 0, 0, 0]))
    elsewhere = moved(moved(rest, by=(0, 0, height)), index=1, by=(0, 0, height))
    assert steps_to_success(tracker, elsewhere) is None
    assert steps_to_success(tracker, rest) == REST_STEPS


@each_scene
def test_a_container_that_was_pushed_along_the_table_is_one_still(scene):
    tracker, rest = _tracker(scene), _settled(scene)
    tracker.update(moving(rest, [0.1, 0, 0, 0, 0, 0]))
    elsewhere = moved(moved(rest, by=(0.1, -0.05, 0.004)), index=1, by=(0.1, -0.05, 0.004))
    assert steps_to_success(tracker, elsewhere) == REST_STEPS


@each_scene
@pytest.mark.parametrize(
    "velocity", [[0.05, 0, 0, 0, 0, 0], [0, 0, 0, 0.5, 0, 0]], ids=["sliding", "rocking"]
)
def test_a_container_that_moves_is_not_at_rest(scene, velocity):
    assert steps_to_success(_tracker(scene), moving(_settled(scene), velocity, index=1)) is None


@each_scene
def test_the_interior_is_hollow_in_the_drawn_shape(scene):
    """No point of the interior lies in a wall: what the predicate calls inside is really free."""
    container = scene.container
    generator = np.random.default_rng(0)
    points = generator.uniform([-0.15, -0.15, 0.0], [0.15, 0.15, 0.1], (20_000, 3))
    inside = points[container.interior.contains(points)]
    assert len(inside) > 500
    in_wall = np.zeros(len(inside), bool)
    for shape in container.shapes:
        local = (inside - shape.pos) @ rotation(np.array(shape.quat))
        if shape.kind == "box":
            in_wall |= (np.abs(local) < np.array(shape.size) - 1e-3).all(axis=1)
        elif shape.kind == "cylinder":
            within = np.hypot(local[:, 0], local[:, 1]) < shape.size[0]
            in_wall |= within & (np.abs(local[:, 2]) < shape.size[1] - 1e-3)
    # The round walls are polygons of slanted boxes: a sliver at their corners may touch.
    assert in_wall.mean() < 0.06


@each_scene
def test_initial_states_are_spread_free_of_overlap_and_repeatable(scene):
    drawn = [scene.draw(TrialSeed(7, scene.id, e).initial_state()) for e in range(200)]
    again = scene.draw(TrialSeed(7, scene.id, 3).initial_state())
    np.testing.assert_array_equal(again.poses, drawn[3].poses)
    np.testing.assert_array_equal(again.joints, drawn[3].joints)
    poses = np.stack([state.poses for state in drawn])
    for index in (0, 1):  # target and container
        extent = poses[:, index, :2].max(axis=0) - poses[:, index, :2].min(axis=0)
        assert (extent > 0.19).all()
        yaw = 2 * np.arctan2(poses[:, index, 6], poses[:, index, 3])
        assert np.histogram(np.mod(yaw, 2 * np.pi), bins=8, range=(0, 2 * np.pi))[0].min() > 5
    for first in range(len(scene.bodies)):
        for second in range(first):
            apart = np.hypot(*(poses[:, first, :2] - poses[:, second, :2]).T)
            assert (apart > scene.bodies[first].footprint + scene.bodies[second].footprint).all()
    for region in (scene.target_region, scene.container_region):
        assert region.x[1] - region.x[0] >= 0.2 - 1e-9
        assert region.y[1] - region.y[0] >= 0.2 - 1e-9
