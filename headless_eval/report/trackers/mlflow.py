"""MLflow; its own environment variables (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME) hold."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headless_eval.report.trackers import PROJECT, TRACKERS, TrackedRun, TrackedVideo

_KEY = "headless_eval.run"
_LONGEST = 500  # characters of a parameter: the least that a version of MLflow takes
_MOST = 100  # parameters a call


@TRACKERS.register("mlflow")
class Mlflow:
    """A run of MLflow, made by its client, so that a run that the process has open stays as it is."""

    package = "mlflow"

    def __init__(self, run: TrackedRun) -> None:
        from mlflow import entities
        from mlflow.tracking import MlflowClient

        self._entities = entities
        self._client: Any = MlflowClient()
        self._pending: list[Any] = []
        experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        before = self._client.search_runs([experiment], f"tags.`{_KEY}` = '{run.key}'", max_results=1)
        if before:
            self._id = before[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        self._id = self._client.create_run(experiment, run_name=run.name, tags={_KEY: run.key}).info.run_id
        settings = [
            entities.Param(_name(name), str(value)[:_LONGEST]) for name, value in run.settings.items()
        ]
        for start in range(0, len(settings), _MOST):
            self._client.log_batch(self._id, params=settings[start : start + _MOST])

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers, in a thread of MLflow's."""
        now = int(1000 * time.time())
        metrics = [self._entities.Metric(_name(name), value, now, step) for name, value in values.items()]
        self._pending.append(self._client.log_batch(self._id, metrics=metrics, synchronous=False))

    def finish(self, page: Path, videos: Sequence[TrackedVideo]) -> None:
        """Send the page and the videos as artifacts."""
        for operation in self._pending:
            operation.wait()
        self._client.log_artifact(self._id, str(page))
        for one in videos:
            self._client.log_artifact(self._id, str(one.path), f"videos/{_name(one.name.rpartition('/')[0])}")
        self._client.set_terminated(self._id)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if found is None else found.experiment_id)


def _name(text: str) -> str:
    """Return a name with the characters that MLflow takes."""
    return re.sub(r"[^\w./ -]", "_", text)
