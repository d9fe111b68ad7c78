"""The settings of what a run's tasks are perturbed by."""

import pytest

from headless_eval.config.run import RunConfig
from headless_eval.config.stored import run_settings, run_with, to_table
from headless_eval.errors import UserError
from headless_eval.runs.tasks import tasks_of


def test_without_them_the_tasks_are_the_suites():
    assert [task.id for task in tasks_of(RunConfig())] == [1, 2, 3]


def test_a_perturbation_is_of_all_tasks():
    tasks = tasks_of(RunConfig(perturb=("light=x0.6", "noise=1"), tasks=("2",), max_steps=90))
    assert [(task.key, task.seeded_as, task.max_steps) for task in tasks] == [
        ("scene_2@light.dim=0.6+noise=1", 2, 90)
    ]


def test_a_sweep_multiplies_the_tasks_by_its_conditions():
    keys = [task.key for task in tasks_of(RunConfig(sweep=("light=0,2", "camera.wrist=1"), tasks=("1", "3")))]
    assert keys == [f"scene_{number}{at}" for at in ("", "@light=2", "@camera.wrist=1") for number in (1, 3)]


def test_they_are_kept_for_resuming():
    config = run_with({"sweep": ["light=1"], "episodes": 2})
    assert tasks_of(run_settings(to_table(config))) == tasks_of(config)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"perturb": ["light=1"], "sweep": ["light=1"]}, "give one of them"),
        ({"perturb": ["lihgt=1"]}, "did you mean light"),
        ({"sweep": ["light=1,7"]}, "level from 0 to 5"),
        ({"suite": "pusht", "perturb": ["camera=1"]}, "camera is not for this simulator, which has noise"),
        ({"sim": "isaaclab", "perturb": ["camera=1"]}, "has light.brightness"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(settings, says):
    with pytest.raises(UserError, match=says):
        run_with(settings)
