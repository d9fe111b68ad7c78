"""What an episode is changed by: drawn from its seed, each axis by itself."""

import numpy as np
import pytest

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.sims.droid.look import PLAIN, lit
from headless_eval.sims.droid.perturbation import stage
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.sims.perturbation import WORLD

SEED = TrialSeed(7, 1, 0)


def staged(*perturbation, scene=SCENES[0], seed=SEED):
    return stage(scene, perturbation, seed.initial_state(), seed.perturbation)


def test_without_a_perturbation_all_is_as_the_scene_draws_it():
    plain = staged()
    assert plain.is_plain
    assert plain.numbers == {}
    assert np.array_equal(plain.state, SCENES[0].draw(SEED.initial_state()).numbers)


@pytest.mark.parametrize("axis", WORLD)
def test_an_axis_is_drawn_from_the_seed_whatever_the_other_axes(axis):
    alone, others = staged((axis, 2)), staged(*((one, 2) for one in WORLD))
    assert alone.numbers == staged((axis, 2)).numbers
    assert alone.numbers.items() <= others.numbers.items()
    other = staged((axis, 2), seed=TrialSeed(7, 1, 1))
    assert (alone.numbers, alone.state.tolist()) != (other.numbers, other.state.tolist())


@pytest.mark.parametrize("axis", ["camera", "light", "texture", "objects"])
def test_axes_of_what_is_seen_move_nothing(axis):
    assert np.array_equal(staged((axis, 5)).state, staged().state)


def test_a_cameras_shift_has_the_size_of_the_level_and_one_direction_at_all_levels():
    low, high = (staged(("camera", level)).look.exterior for level in (2, 4))
    shifts = [np.subtract(one.pos, PLAIN.exterior.pos) for one in (low, high)]
    assert np.linalg.norm(shifts[0]) == pytest.approx(0.02)
    assert np.allclose(shifts[1] / 0.07, shifts[0] / 0.02)
    towards = [np.subtract(one.target, one.pos) for one in (PLAIN.exterior, high)]
    cosine = towards[0] @ towards[1] / np.linalg.norm(towards[0]) / np.linalg.norm(towards[1])
    assert 0 < np.degrees(np.arccos(cosine)) <= 5


def test_one_size_alone_changes_one_quantity_alone():
    look = staged(("camera.wrist", 1.0)).look
    assert look.exterior == PLAIN.exterior
    assert np.linalg.norm(np.subtract(look.wrist.pos, PLAIN.wrist.pos)) == pytest.approx(0.01)


def test_dimming_is_the_picture_times_a_number_rounded():
    look = staged(("light.dim", 0.6)).look
    assert (look.light, look.light_direction) == ((0.6, 0.6, 0.6), PLAIN.light_direction)
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert np.array_equal(lit(picture, look.light), np.round(picture * 0.6).astype(np.uint8))
    assert lit(picture, PLAIN.light) is picture
    assert lit(picture, (2.0, 1.0, 1.0)).max() == 255


def test_light_is_dimmed_in_some_episodes_and_brightened_in_others():
    factors = {
        staged(("light", 3), seed=TrialSeed(7, 1, episode)).numbers["light.factor"] for episode in range(20)
    }
    assert factors == {0.6, 1.4}


def test_larger_regions_keep_bodies_apart_and_reach_further_out():
    found = [staged(("pose", 5), seed=TrialSeed(7, 1, episode)).initial.poses for episode in range(60)]
    target = np.array([poses[0] for poses in found])
    x, y = SCENES[0].target_region.x, SCENES[0].target_region.y
    outside = (target[:, 0] < x[0]) | (target[:, 0] > x[1]) | (target[:, 1] < y[0]) | (target[:, 1] > y[1])
    assert outside.sum() > 20
    apart = [np.hypot(*(poses[0, :2] - poses[1, :2])) for poses in found]
    assert min(apart) > SCENES[0].target.footprint + SCENES[0].container.footprint


def test_further_bodies_stand_clear_of_all_others():
    for episode in range(20):
        one = staged(("distractors", 5), scene=SCENES[2], seed=TrialSeed(7, 3, episode))
        assert 3 <= len(one.strangers) <= 6
        for index, stranger in enumerate(one.strangers):
            assert stranger.is_clear_of(one.strangers[:index])
            for body, pose in zip(SCENES[2].bodies, one.initial.poses, strict=True):
                away = np.hypot(stranger.x - pose[0], stranger.y - pose[1])
                assert away > stranger.body.footprint + body.footprint


def test_recolouring_keeps_shapes_and_gives_one_colour_to_a_body():
    one = staged(("objects.colour", 100))
    for body, plain in zip(one.bodies, SCENES[0].bodies, strict=True):
        assert [shape.pos for shape in body.shapes] == [shape.pos for shape in plain.shapes]
        assert len({shape.rgb for shape in body.shapes}) == 1
    assert len({body.shapes[0].rgb for body in one.bodies}) == len(one.bodies)


def test_patterns_lie_on_the_table_and_have_no_substance():
    for episode in range(30):
        look = staged(("texture", 5), seed=TrialSeed(7, 1, episode)).look
        assert not any(shape.collides for shape in look.decoration)
        on_table = [shape for shape in look.decoration if shape.pos[2] > 0 and shape.size[-1] < 0.001]
        assert on_table
        for shape in on_table:
            reach_x, reach_y = (shape.size[0], shape.size[0 if shape.kind == "cylinder" else 1])
            assert abs(shape.pos[0] - 0.35) + reach_x <= 0.45 + 1e-9
            assert abs(shape.pos[1]) + reach_y <= 0.6 + 1e-9
