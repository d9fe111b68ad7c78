"""Descriptions of the DROID scenes: interiors, volumes and regions are what the tasks need."""

import numpy as np
import pytest

from headless_eval.sims.droid.bodies import Cuboid, Frustum
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.sims.droid.tabletop import TABLE


def test_a_frustum_contains_what_is_between_floor_and_rim_within_its_radius():
    cup = Frustum(bottom_radius=1.0, top_radius=2.0, floor=0.0, rim=1.0)
    points = np.array([[0, 0, 0.5], [1.4, 0, 0.5], [1.6, 0, 0.5], [0, 0, 1.1], [0, 0, -0.1], [0, 1.9, 1.0]])
    assert cup.contains(points).tolist() == [True, True, False, False, False, True]


def test_a_box_contains_what_is_between_floor_and_rim_within_its_walls():
    box = Cuboid(half_x=1.0, half_y=2.0, floor=0.0, rim=1.0)
    points = np.array([[1.0, -2.0, 0.0], [1.1, 0, 0.5], [0, 2.1, 0.5], [0, 0, 1.1]])
    assert box.contains(points).tolist() == [True, False, False, False]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"scene_{scene.id}")
def test_a_target_fits_into_its_container(scene):
    volume, interior = np.array(scene.target.volume), scene.container.interior
    upright = volume + np.array([0.0, 0.0, interior.floor])
    assert interior.contains(upright).mean() >= 0.75
    assert interior.contains(upright.mean(axis=0, keepdims=True)).all()
    assert not interior.contains(volume + np.array([0.5, 0.0, 0.0])).any()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"scene_{scene.id}")
def test_bodies_start_on_the_table_within_reach(scene):
    (half_x, half_y, _), (centre_x, centre_y, _) = TABLE.size, TABLE.pos
    for region in (scene.target_region, scene.container_region, scene.distractor_region):
        for x, y in zip(region.x, region.y, strict=True):
            assert abs(x - centre_x) < half_x
            assert abs(y - centre_y) < half_y
            assert 0.3 < np.hypot(x, y) < 0.8


def test_bodies_have_names_of_their_own_and_mass():
    for scene in SCENES:
        names = [body.name for body in scene.bodies]
        assert len(set(names)) == len(names) == 4
        assert all(body.mass > 0 and body.footprint > 0 for body in scene.bodies)
        assert scene.target.grasp_width < 0.085  # the gripper's stroke
    assert [scene.id for scene in SCENES] == [1, 2, 3]
