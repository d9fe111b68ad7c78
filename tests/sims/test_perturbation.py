"""Axes, levels and sizes as they are written, and the tasks that they make."""

import runpy

import pytest
from paths import ROOT

from headless_eval.contracts.simulator import Task
from headless_eval.errors import UserError
from headless_eval.sims.droid.suites import DroidSettings
from headless_eval.sims.perturbation import ALL, AXES, LEVELS, name_of, parse, parse_sweep, perturbed
from headless_eval.sims.registry import find_suite

TASK = Task(3, "scene_3", "Scene 3", "put banana in the bin", 450)
KNOWN = list(AXES)


def test_levels_rise_from_nothing_and_streams_are_not_shared():
    assert len({axis.stream for axis in AXES.values()}) == len(AXES)
    for axis in AXES.values():
        assert all(one.neutral == axis.sizes(())[one.name] for one in axis.quantities)
        for one in axis.quantities:
            assert list(one.levels) == sorted(one.levels)
            assert len(one.levels) in (0, LEVELS)
            assert max(one.levels, default=0) <= one.most


def test_a_size_leaves_the_axiss_other_quantities_alone():
    light = AXES["light"]
    assert light.sizes((("light.dim", 0.6),)) == {"brightness": 0, "colour": 0, "turn": 0, "dim": 0.6}
    assert light.sizes((("light", 2),)) == {"brightness": 28, "colour": 6, "turn": 10, "dim": 1}
    assert light.sizes((("camera", 2),)) == light.sizes(())


def test_perturbations_are_in_the_order_of_the_axes_without_what_changes_nothing():
    found = parse(["noise=1", "light=x0.6", "camera=2", "pose=0", "texture.table=0"], KNOWN)
    assert found == (("camera", 2), ("light.dim", 0.6), ("noise", 1))
    assert name_of(found) == "camera=2+light.dim=0.6+noise=1"
    assert parse(["light=x1"], KNOWN) == parse(["all=0"], KNOWN) == ()
    assert dict(parse(["all=1"], KNOWN)) == dict.fromkeys(AXES, 1)
    assert parse(["camera.wrist=1", "camera.exterior=3"], KNOWN) == (
        ("camera.exterior", 3),
        ("camera.wrist", 1),
    )


def test_a_sweep_is_the_plain_task_and_one_axis_at_a_time():
    assert parse_sweep(["light=0,1,3", "camera.wrist=1"], KNOWN) == [
        (),
        (("light", 1),),
        (("light", 3),),
        (("camera.wrist", 1.0),),
    ]
    assert len(parse_sweep(["light"], KNOWN)) == 1 + LEVELS
    assert parse_sweep([f"{ALL}=2"], ["pose", "noise"]) == [(), (("pose", 2),), (("noise", 2),)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("light", "write AXIS=LEVEL"),
        ("light=6", "level from 0 to 5"),
        ("light=-1", "level from 0 to 5"),
        ("light=1.5", "light.brightness=15"),
        ("light=x9", "from 0 to 3"),
        ("light=xnan", "from 0 to 3"),
        ("ligth=1", "did you mean light"),
        ("camera.wirst=1", "did you mean wrist"),
        ("all.wrist=1", "unknown axis"),
        ("distractors.bodies=1.5", "whole number from 0 to 6"),
        ("language=1", "not for this simulator, which has camera, light, distractors"),
    ],
)
def test_what_is_not_valid_is_refused_in_one_line(text, says):
    with pytest.raises(UserError, match=says) as refused:
        parse([text], ["camera", "light", "distractors"])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "texts", [["light=1", "light=2"], ["light=1", "light.turn=3"], ["light.turn=3", "all=1"]]
)
def test_an_axis_is_given_once(texts):
    with pytest.raises(UserError, match="given twice"):
        parse(texts, KNOWN)


def test_a_perturbed_task_has_its_own_number_and_the_plain_tasks_seeds():
    one = perturbed(TASK, parse(["light=2"], KNOWN))
    assert (one.key, one.seeded_as, one.instruction) == ("scene_3@light=2", 3, TASK.instruction)
    assert one.id == perturbed(TASK, (("light", 2),)).id
    assert one.id not in (TASK.id, perturbed(TASK, (("light", 3),)).id)
    assert one.id < 2**31
    assert one.trial_seed(7, 4) == TASK.trial_seed(7, 4)
    assert perturbed(TASK, ()) is TASK


def test_the_table_of_levels_in_the_documentation_is_the_codes():
    table = runpy.run_path(str(ROOT / "docs" / "perturbation_levels.py"))["table"]()
    assert table in (ROOT / "docs" / "perturbations.md").read_text("utf-8")


def test_a_simulator_may_know_a_quantity_and_not_its_axis():
    known = find_suite("droid").axes(DroidSettings(sim="isaaclab"))
    assert "light" not in known
    assert parse(["light=x0.6", "noise=1"], known) == (("light.dim", 0.6), ("noise", 1))
    assert dict(parse(["all=2"], known)) == {"pose": 2, "language": 2, "noise": 2}
    for text in ("light=1", "light.turn=3", "camera=1"):
        with pytest.raises(UserError, match=r"not for this simulator, which has light\.brightness"):
            parse([text], known)
