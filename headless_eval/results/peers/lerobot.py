"""``eval_info.json`` of lerobot-eval.

LeRobot up to 0.3 writes ``per_episode`` of one environment, with the episode's seed; from 0.4 on it writes ``per_task``
of groups of tasks, with lists in the order of the episodes and without seeds (``lerobot/scripts/eval.py`` of 0.3.3,
``lerobot/scripts/lerobot_eval.py`` of 0.4.0 to 0.6.1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headless_eval.results.peers.found import Found, FoundEpisode, FoundTask
from headless_eval.results.peers.naming import suite_name, word
from headless_eval.results.record import FAILURE, SUCCESS, Count, Seed
from headless_eval.shared.untrusted import convert, read_json

FILE = "eval_info.json"
EVALUATOR = "lerobot-eval"

_MISSING = ("initial states", "actions", "steps", "times", "instructions", "the policy and its precision")


@dataclass(frozen=True)
class _Rates:
    pc_success: float | None = None


@dataclass(frozen=True)
class _Metrics:
    successes: list[bool]
    sum_rewards: list[float] = field(default_factory=list)
    max_rewards: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Task:
    task_group: str
    task_id: Count
    metrics: _Metrics


@dataclass(frozen=True)
class _OfTasks:
    per_task: list[_Task]
    overall: _Rates = field(default_factory=_Rates)


@dataclass(frozen=True)
class _Episode:
    episode_ix: Count
    success: bool
    seed: Seed | None = None
    sum_reward: float | None = None
    max_reward: float | None = None


@dataclass(frozen=True)
class _OfEpisodes:
    per_episode: list[_Episode]
    aggregated: _Rates = field(default_factory=_Rates)


def read(path: Path) -> Found:
    """Return the content of a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is none of lerobot-eval's, is damaged, or contradicts itself; the message says what is wrong.
    """
    content = read_json(path)
    if isinstance(content, dict) and "per_task" in content:
        return _of_tasks(path, convert(content, _OfTasks))
    if isinstance(content, dict) and "per_episode" in content:
        return _of_episodes(path, convert(content, _OfEpisodes))
    raise ValueError(f"neither 'per_task' nor 'per_episode' is in it, so {EVALUATOR} did not write it")


def _of_tasks(path: Path, content: _OfTasks) -> Found:
    tasks, episodes = [], []
    for task in content.per_task:
        key = word(f"{task.task_group}_{task.task_id}")
        metrics = task.metrics
        rewards = {"sum_reward": metrics.sum_rewards, "max_reward": metrics.max_rewards}
        for name, values in rewards.items():
            if values and len(values) != len(metrics.successes):
                raise ValueError(f"{key} has {len(metrics.successes)} successes and {len(values)} {name}s")
        tasks.append(FoundTask(key, f"{task.task_group} {task.task_id}", len(metrics.successes)))
        episodes += [
            FoundEpisode(
                key,
                index,
                SUCCESS if success else FAILURE,
                metrics={name: values[index] for name, values in rewards.items() if values},
            )
            for index, success in enumerate(metrics.successes)
        ]
    _check_rate(episodes, content.overall)
    suite = suite_name(dict.fromkeys(task.task_group for task in content.per_task))
    return Found(path, EVALUATOR, suite, tasks, episodes, ("seeds", *_MISSING))


def _of_episodes(path: Path, content: _OfEpisodes) -> Found:
    rewards = ("sum_reward", "max_reward")
    episodes = [
        FoundEpisode(
            "task_0",
            one.episode_ix,
            SUCCESS if one.success else FAILURE,
            seed=one.seed,
            metrics={name: value for name in rewards if (value := getattr(one, name)) is not None},
        )
        for one in content.per_episode
    ]
    _check_rate(episodes, content.aggregated)
    missing = ["the environment", *_MISSING]
    if any(one.seed is None for one in episodes):
        missing.insert(0, "seeds")
    task = FoundTask("task_0", "the only task", len(episodes))
    return Found(path, EVALUATOR, "lerobot", [task], episodes, missing)


def _check_rate(episodes: Sequence[FoundEpisode], rates: _Rates) -> None:
    said = rates.pc_success
    if said is None or not episodes:
        return
    counted = 100 * sum(one.status == SUCCESS for one in episodes) / len(episodes)
    if not math.isclose(counted, said, abs_tol=1e-6):
        raise ValueError(f"it says that {said:g} % succeed, and its episodes are {counted:g} %")
