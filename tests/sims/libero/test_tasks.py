"""Tasks of the LIBERO suites, which need neither LIBERO nor its assets."""

import pytest

from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.sims.libero.tasks import TASKS
from headless_eval.sims.registry import SUITES, find_tasks


def test_the_suites_have_openpis_tasks_and_limits():
    sizes = {suite: (len(tasks), tasks[0].max_steps) for suite, tasks in TASKS.items()}
    assert sizes == {
        "libero_spatial": (10, 220),
        "libero_object": (10, 280),
        "libero_goal": (10, 300),
        "libero_10": (10, 520),
        "libero_90": (90, 400),
    }
    for name, tasks in TASKS.items():
        assert SUITES[name].load_tasks() == tasks
        assert SUITES[name].robot == "libero"
        assert [task.id for task in tasks] == list(range(len(tasks)))
        assert len({task.name for task in tasks}) == len(tasks)


def test_tasks_are_found_by_number_key_and_liberos_name():
    tasks = TASKS["libero_10"]
    name = "KITCHEN_SCENE3_turn_on_the_stove_and_put_the_moka_pot_on_it"
    assert tasks[2].instruction == "turn on the stove and put the moka pot on it"
    assert (
        find_tasks(tasks, ["2"]) == find_tasks(tasks, ["task_2"]) == find_tasks(tasks, [name]) == (tasks[2],)
    )
    with pytest.raises(UserError, match="task_9"):
        find_tasks(tasks, ["10"])


def test_a_policy_of_another_robot_is_refused_before_libero_is_looked_for(untrained_policy, capsys):
    assert main(["run", "--suite", "libero_object", "--policy", str(untrained_policy)]) == 2
    error = capsys.readouterr().err
    assert "droid" in error
    assert "pi05_libero" in error
