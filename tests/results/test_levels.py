"""Adaptive levels: which trials come next, and when a threshold is known well enough."""

import numpy as np
import pytest
from graded_cases import LEVELS, chance_of_success, graded_manifest, graded_tasks
from record_cases import broken, record

from headless_eval.config.margins import Margin, parse_width
from headless_eval.errors import UserError
from headless_eval.results.levels import BLOCK, Levels, goals_of, levels_of
from headless_eval.results.psychometric import Grid, Scale, scales_of

TASKS = graded_tasks()
(SCALE,) = scales_of(graded_manifest(TASKS, ["float32"])["tasks"])


def levels(goal="0.5mm", episodes=1000, names=("float32",), retries=0):
    return Levels([SCALE], {"insert": parse_width("", goal)}, names, episodes, retries)


def play(found, threshold, name="float32", seed=0, blocks=1000):
    """Run the trials that are asked for; return them block by block."""
    luck = np.random.default_rng(seed).random((len(LEVELS), 1000))
    asked = []
    while len(asked) < blocks and (block := found.next(name)):
        asked.append(block)
        for task, episode in block:
            success = bool(luck[task - 31][episode] < chance_of_success(LEVELS[task - 31], threshold))
            status = "success" if success else "failure"
            found.add(
                record(configuration=name, task_id=task, episode=episode, status=status, success=success)
            )
    return asked


def test_the_first_trial_is_the_one_that_tells_most_by_brute_force():
    grid = Grid(SCALE)
    weights = np.exp(grid.prior - grid.prior.max())
    weights /= weights.sum()
    expected = []
    for level in range(5):
        entropy = 0.0
        for outcome in (grid.success[..., level], 1 - grid.success[..., level]):
            chance = (weights * outcome).sum()
            shares = (weights * outcome).sum(axis=(1, 2)) / chance
            entropy -= chance * (shares * np.log(shares)).sum()
        expected.append(entropy)
    assert levels().next("float32")[0] == (SCALE.tasks[int(np.argmin(expected))], 0)


def test_blocks_go_where_the_threshold_lies():
    for threshold, near, far in ((0.6, {34, 35}, {31, 32}), (5.0, {31, 32}, {34, 35})):
        tasks = [task for block in play(levels(), threshold) for task, _ in block]
        assert sum(task in near for task in tasks) > 3 * sum(task in far for task in tasks)


def test_each_level_runs_its_episodes_in_their_order():
    asked = [trial for block in play(levels(), 1.7) for trial in block]
    for task in SCALE.tasks:
        numbers = [episode for of, episode in asked if of == task]
        assert numbers == list(range(len(numbers)))


def test_a_block_is_chosen_when_the_one_before_is_complete_in_whatever_order_its_trials_end():
    forwards, backwards = levels(), levels()
    first = forwards.next("float32")
    assert len(first) == BLOCK
    for found, order in ((forwards, first), (backwards, first[::-1])):
        for count, (task, episode) in enumerate(order):
            assert found.next("float32") == first
            status = "success" if episode == 0 else "failure"
            found.add(record(task_id=task, episode=episode, status=status, success=episode == 0))
            assert (found.next("float32") != first) == (count == BLOCK - 1)
    assert forwards.next("float32") == backwards.next("float32")


def test_the_end_is_where_the_interval_is_short_enough_or_no_episode_is_left():
    found = levels("0.5mm")
    blocks = play(found, 1.7)
    (state,) = found.states
    assert found.done
    assert state.reached
    assert state.width <= 0.5
    assert state.episodes == BLOCK * len(blocks)
    assert state.sentence == f"insert known to within 0.5 mm after {state.episodes} episodes"
    few = levels("0.01mm", episodes=2)
    assert sum(map(len, play(few, 1.7))) == 10
    assert few.states[0].exhausted
    assert few.states[0].sentence == "insert not known to within 0.01 mm after 10 episodes"


def test_what_always_succeeds_ends_when_the_threshold_is_known_to_lie_beyond_the_levels():
    found = levels("0.2mm")
    play(found, 0.001)
    assert found.states[0].reached
    assert found.states[0].episodes < 60
    found = levels("0.2mm")
    play(found, 1000.0)
    assert (
        found.states[0].sentence
        == f"insert known to lie beyond the levels after {found.states[0].episodes} episodes"
    )


def test_a_width_in_percent_is_of_the_lower_end():
    found = levels("50%")
    play(found, 1.7)
    assert found.states[0].reached
    assert found.states[0].width <= 50


def test_an_error_waits_for_its_last_attempt_and_then_tells_nothing():
    found = levels(retries=1)
    first = found.next("float32")
    for task, episode in first:
        found.add(broken(task_id=task, episode=episode))
    assert found.next("float32") == first
    for task, episode in first:
        found.add(broken(task_id=task, episode=episode))
    again = found.next("float32")
    assert again != first
    assert found.states[0].episodes == 0


def test_records_of_other_tasks_and_variants_change_nothing():
    found = levels()
    before = found.next("float32")
    assert found.add(record(task_id=1)) == found.add(record(configuration="other", task_id=31)) == []
    assert found.next("float32") == before


@pytest.mark.parametrize("threshold", [1.4, pytest.param(2.8, marks=pytest.mark.slow)])
def test_the_interval_holds_the_threshold_although_the_run_stops_by_it(threshold):
    held = 0
    for seed in range(40):
        found = levels("1mm")
        asked = play(found, threshold, seed=seed)
        wins, trials = np.zeros(5), np.zeros(5)
        luck = np.random.default_rng(seed).random((len(LEVELS), 1000))
        for task, episode in (trial for block in asked for trial in block):
            place = SCALE.tasks.index(task)
            trials[place] += 1
            wins[place] += luck[task - 31][episode] < chance_of_success(LEVELS[task - 31], threshold)
        _, low, high = Grid(SCALE).fit(wins, trials).threshold
        held += (low or 0) <= threshold <= (high or np.inf)
    assert held / 40 >= 0.95 - 3 * (0.95 * 0.05 / 40) ** 0.5


def test_goals_are_of_one_family_or_of_all():
    other = Scale("carry", "degrees", "more", 0.0, (2.0, 4.0), (41, 42))
    assert goals_of([SCALE, other], ["30%"]) == {"insert": Margin("", 30, "%"), "carry": Margin("", 30, "%")}
    found = goals_of([SCALE, other], ["insert=0.5mm", "carry=1degrees"])
    assert found == {"insert": Margin("insert", 0.5, "mm"), "carry": Margin("carry", 1, "degrees")}
    assert goals_of([SCALE, other], ["insert=0.5mm", "30%"])["insert"].size == 0.5
    with pytest.raises(UserError, match="gives no width for carry: write carry=WIDTH"):
        goals_of([SCALE, other], ["insert=0.5mm"])


def test_a_run_says_its_goal_in_its_settings():
    stated = graded_manifest(TASKS, ["float32"], settings={"until_width": ["0.5mm"]}, episodes=3)
    assert levels_of(stated).next("float32") == levels(episodes=3).next("float32")
    assert levels_of(graded_manifest(TASKS, ["float32"])) is None
    with pytest.raises(ValueError, match="until_width"):
        levels_of(stated | {"settings": {"until_width": [3]}})
