"""Recorded observations, with the noise of their action chunks, for sensitivity; read from and written to a file."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.results import ERROR, RunDirectory
from headless_eval.rollout.recording import RecordedObservation
from headless_eval.rollout.replay import replan_observations
from headless_eval.runs.evaluator import open_simulator
from headless_eval.runs.resume import config_from
from headless_eval.runs.tasks import tasks_of
from headless_eval.shared.files import replacing
from headless_eval.sims.registry import find_suite

_NOISE = "noise"


def save_observations(path: Path, seen: Sequence[RecordedObservation]) -> None:
    """Write observations as compressed arrays named ``<index>/<key>``."""
    arrays = {
        f"{index}/{key}": value for index, one in enumerate(seen) for key, value in one.observation.items()
    }
    arrays |= {f"{index}/{_NOISE}": one.noise for index, one in enumerate(seen) if one.noise is not None}
    with replacing(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_observations(path: Path) -> list[RecordedObservation]:
    """Read a file of ``save_observations``.

    Raises:
        UserError: the file does not exist or does not hold observations.
    """
    found: dict[int, dict[str, Any]] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                index, _, key = name.partition("/")
                value = arrays[name]
                found.setdefault(int(index), {})[key] = str(value) if value.dtype.kind == "U" else value
    except (OSError, ValueError, BadZipFile) as error:
        raise UserError(
            f"cannot read observations from {path} ({error}): name a file that headless-eval sensitivity wrote, "
            "or the folder of a run"
        ) from None
    if not found:
        raise UserError(f"{path} holds no observations")
    return [RecordedObservation(obs, obs.pop(_NOISE, None)) for _, obs in sorted(found.items())]


def observations_of_run(folder: Path, policy: LocalPolicy, number: int) -> list[RecordedObservation]:
    """Return observations of a run's float32 episodes, which are simulated again from their actions.

    Args:
        folder: the run's folder.
        policy: the policy; gives the shape of the noise, and the open-loop horizon if the run does not record it.
        number: number of observations, spread evenly over the replans of the run's episodes.

    Raises:
        UserError: the run does not exist, has no episode at float32, or an episode does not end as recorded.
    """
    run = RunDirectory.open(folder)
    config = config_from(run.manifest, folder)
    records = [
        record for record in run.records() if record.configuration == "float32" and record.status != ERROR
    ]
    if not records:
        raise UserError(f"{folder} has no episode at float32 without an error: name another run")
    suite = find_suite(config.suite)
    tasks = {task.id: task for task in tasks_of(config)}
    horizon = config.open_loop_horizon or policy.open_loop_horizon
    places = [
        (index, replan)
        for index, record in enumerate(records)
        for replan in range(-(-record.steps // horizon))
    ]
    chosen = {places[round(place)] for place in np.linspace(0, len(places) - 1, min(number, len(places)))}
    seen = []
    with open_simulator(suite, config, 1, policy.image_size) as simulator:
        for index, record in enumerate(records):
            wanted = {replan for of, replan in chosen if of == index}
            actions = run.actions(record)
            if not wanted or actions is None:
                continue
            seed, shape = tasks[record.task_id].trial_seed(record.seed, record.episode), policy.noise_shape
            met = replan_observations(simulator, tasks[record.task_id], record, actions, horizon)
            for replan, observation in enumerate(islice(met, max(wanted) + 1)):
                if replan in wanted:
                    noise = None if shape is None else seed.flow_noise(replan, shape)
                    seen.append(RecordedObservation(observation, noise))
    if not seen:
        raise UserError(f"{folder} keeps no actions to simulate its episodes again from")
    return seen
