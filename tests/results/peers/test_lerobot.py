"""``eval_info.json`` of lerobot-eval: what its own functions wrote, and what contradicts itself."""

import pytest
from peer_cases import DATA, eval_info, write_eval_info

from headless_eval.results.peers.lerobot import read


def test_a_file_of_0_3_has_the_seed_of_each_episode():
    found = read(DATA / "lerobot_0.3.3" / "int8" / "eval_info.json")
    assert [one.seed for one in found.episodes] == list(range(1000, 1008))
    assert [one.episode for one in found.episodes] == list(range(8))
    assert sum(one.status == "success" for one in found.episodes) == 7  # 87.5 %, as it says itself
    assert "seeds" not in found.missing
    assert {"initial states", "actions", "the environment"} <= set(found.missing)


def test_a_file_of_0_4_has_groups_of_tasks_and_no_seeds():
    found = read(DATA / "lerobot_0.4.4" / "int8" / "eval_info.json")
    assert found.suite == "push-reach"
    assert [(task.key, task.planned) for task in found.tasks] == [
        ("reach_0", 6),
        ("reach_1", 6),
        ("push_0", 6),
    ]
    assert {one.seed for one in found.episodes} == {None}
    assert sum(one.status == "success" for one in found.episodes) == 13  # 72.2 %
    assert found.missing[0] == "seeds"
    assert {one.steps for one in found.episodes} == {None}
    assert set(found.episodes[0].metrics) == {"sum_reward", "max_reward"}


def test_counts_and_intervals_that_later_versions_add_do_no_harm(tmp_path):
    content = eval_info({"0": [True, False]})
    content["overall"] |= {"n_success": 1, "pc_success_ci95": [9.4, 90.5]}
    content["per_task"][0] |= {"n_episodes": 2, "pc_success": 50.0}
    assert len(read(write_eval_info(tmp_path / "eval_info.json", content)).episodes) == 2


def changed(**metrics):
    content = eval_info({"0": [True, False]})
    content["per_task"][0]["metrics"] |= metrics
    return content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"per_step": []}, "neither 'per_task' nor 'per_episode'"),
        ([1], "neither 'per_task' nor 'per_episode'"),
        (eval_info({}), "no episode"),
        (changed(successes=[1, 0]), "successes"),
        (changed(successes=["true", "false"]), "successes"),
        (changed(sum_rewards=[1.0]), "2 successes and 1 sum_rewards"),
        (changed(sum_rewards=["1", "2"]), "sum_rewards"),
        (eval_info({"0": [True, False]}, overall={"pc_success": 90.0}), "it says that 90 % succeed"),
        ({"per_episode": [{"episode_ix": 0, "success": True, "seed": -1}]}, "seed"),
        ({"per_episode": [{"episode_ix": 0, "success": True}] * 2}, "twice"),
        (eval_info({"0": [True]})["per_task"], "neither"),
        ({"per_task": eval_info({"0": [True]})["per_task"] * 2}, "twice"),
    ],
)
def test_what_is_damaged_or_contradicts_itself_is_refused(content, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        read(write_eval_info(tmp_path / "eval_info.json", content))
