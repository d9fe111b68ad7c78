"""Recordings of vla-eval: ``recording-<eval id>.sqlite`` (``vla_eval/recording.py`` of 0.8.0).

A recording holds one or more benchmarks; each of its episodes has the task's name, its index, how it ended, and the
steps that the benchmark chose to record, executed actions among them in LIBERO's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from headless_eval.results.peers.database import Database
from headless_eval.results.peers.found import Found, FoundEpisode, FoundTask
from headless_eval.results.peers.naming import suite_name, unique_keys, word
from headless_eval.results.record import ERROR, FAILURE, SUCCESS, Count
from headless_eval.shared.text import plural, printable
from headless_eval.shared.untrusted import convert, parse_json

FILES = "recording-*.sqlite"
EVALUATOR = "vla-eval"
MAGIC = b"SQLite format 3\x00"

_TABLES = ("eval_metadata", "episode_results", "step_rows")
_STATUSES = {"success": SUCCESS, "fail": FAILURE, "error": ERROR}
_MISSING = ("initial states", "instructions", "the policy's precision")
_MOST_DIMS = 1000


@dataclass(frozen=True)
class _Config:
    episodes_per_task: Count = 1
    max_steps: Count | None = None
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Benchmark:
    benchmark: str
    mode: str = ""
    config: _Config = field(default_factory=_Config)
    harness_version: str = ""


@dataclass(frozen=True)
class _Step:
    """A row of ``step_rows``, of which there are many: read by its type, which leaves the other fields out."""

    action: list[float]


_STEP = msgspec.json.Decoder(_Step)


@dataclass(frozen=True)
class _Result:
    """A row of ``episode_results``, with the JSON of its columns read."""

    sid: str
    eid: str
    eval_id: str
    task_name: str
    episode_id: Count
    status: str
    metrics: dict[str, Any]
    context: dict[str, Any]
    steps: Count | None = None
    elapsed_sec: Annotated[float, Meta(ge=0)] | None = None
    failure_reason: str | None = None
    failure_detail: str | None = None

    @property
    def task_idx(self) -> int | None:
        number = self.context.get("task_idx")
        return number if type(number) is int else None


def read(path: Path) -> Found:
    """Return the content of a recording.

    Raises:
        ValueError: it is none of vla-eval's, is damaged, or contradicts itself; the message says what is wrong.
    """
    database = Database(path, _TABLES)
    for table in _TABLES[:2]:
        if not database.has(table):
            raise ValueError(f"it has no plain table {table}, so {EVALUATOR} did not write it")
    sections, benchmarks = _benchmarks(database)
    results, repeated = _results(database, benchmarks)
    tasks = _tasks(results, benchmarks)
    places = {}
    episodes = []
    for one in results:
        task = tasks[one.eval_id, one.task_name, one.task_idx]
        places[task.key, one.episode_id] = one.sid, one.eid
        episodes.append(_episode(one, task, benchmarks[one.eval_id]))

    def actions(task: str, episode: int) -> np.ndarray | None:
        place = places.get((task, episode))
        return _actions(database, *place) if place else None

    missing = list(_MISSING)
    if any(one.seed is None for one in episodes):
        missing.insert(0, "seeds")
    ended = next((one for one in episodes if one.status != ERROR), None)
    if ended is None or actions(ended.task, ended.episode) is None:
        missing.append("actions")
    names = [benchmarks[name].benchmark for name in dict.fromkeys(one.eval_id for one in results)]
    return Found(
        path,
        EVALUATOR,
        suite_name(names),
        list(dict.fromkeys(tasks.values())),
        episodes,
        missing,
        _notes(episodes, repeated),
        _about(sections, benchmarks),
        actions,
    )


def _benchmarks(database: Database) -> tuple[dict[str, Any], dict[str, _Benchmark]]:
    """Return what the recording says of its benchmarks, as it is and as far as it is used, by ``eval_id``."""
    as_is, used = {}, {}
    for row in database.rows("SELECT eval_id, metadata FROM eval_metadata"):
        name = printable(_text(row["eval_id"]))
        as_is[name] = parse_json(_text(row["metadata"]))
        used[name] = convert(as_is[name], _Benchmark)
    return as_is, used


def _results(database: Database, benchmarks: Mapping[str, _Benchmark]) -> tuple[list[_Result], int]:
    """Return the results that count, and how many do not: the last of an episode counts, as in vla-eval."""
    last: dict[tuple[Any, ...], _Result] = {}
    number = 0
    for number, row in enumerate(
        database.rows("SELECT rowid, * FROM episode_results ORDER BY rowid"), start=1
    ):
        read = {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}
        read |= {name: parse_json(_text(row.get(name) or "{}")) for name in ("metrics", "context")}
        try:
            one = convert(read, _Result)
        except ValueError as error:
            raise ValueError(f"row {number} of episode_results: {error}") from None
        if one.eval_id not in benchmarks:
            raise ValueError(f"row {number} of episode_results is of a benchmark that it does not describe")
        if one.status not in _STATUSES:
            raise ValueError(f"row {number} of episode_results has the status {one.status!r:.40}")
        if one.metrics.get("success", one.status == "success") is not (one.status == "success"):
            raise ValueError(
                f"row {number} of episode_results has another success in its metrics than as its status"
            )
        last.pop(key := (one.eval_id, one.task_name, one.episode_id, one.task_idx), None)
        last[key] = one
    return list(last.values()), number - len(last)


def _tasks(
    results: Iterable[_Result], benchmarks: Mapping[str, _Benchmark]
) -> dict[tuple[str, str, int | None], FoundTask]:
    """Return the tasks by benchmark, name and number; sorted, so that they do not depend on which shard was faster."""
    found = sorted(
        {(one.eval_id, one.task_name, one.task_idx) for one in results},
        key=lambda task: (benchmarks[task[0]].benchmark, -1 if task[2] is None else task[2], task[1]),
    )
    several = len({task[0] for task in found}) > 1
    names = [
        (f"{benchmarks[benchmark].benchmark} {name}" if several else name, number or 0)
        for benchmark, name, number in found
    ]
    return {
        task: FoundTask(
            key, name, benchmarks[task[0]].config.episodes_per_task, benchmarks[task[0]].config.max_steps
        )
        for task, key, (name, _) in zip(found, unique_keys(names), names, strict=True)
    }


def _episode(one: _Result, task: FoundTask, benchmark: _Benchmark) -> FoundEpisode:
    seed = benchmark.config.params.get("seed")
    error = None
    if one.status == "error":
        reason, detail = one.failure_reason or "error", one.failure_detail or ""
        last = detail.strip().rpartition("\n")[2]
        error = {"type": reason, "message": last, "traceback": detail}
    numbers = {
        name: float(value)
        for name, value in one.metrics.items()
        if type(value) in (int, float) and name != "success"
    }
    return FoundEpisode(
        task.key,
        one.episode_id,
        _STATUSES[one.status],
        seed=seed if type(seed) is int and seed >= 0 else None,
        steps=None if error else one.steps,
        seconds=None if error else one.elapsed_sec,
        metrics=numbers,
        error=error,
    )


def _actions(database: Database, sid: str, eid: str) -> np.ndarray | None:
    """Return an episode's executed actions; None if a step lacks them, or they are no numbers of one length.

    Raises:
        ValueError: the file is damaged where they are.
    """
    if not database.has("step_rows"):
        return None
    query = "SELECT fields FROM step_rows WHERE sid = ? AND eid = ? ORDER BY step_id"
    rows = []
    for row in database.rows(query, (sid, eid)):
        try:
            action = _STEP.decode(_text(row["fields"])).action
        except msgspec.ValidationError:
            return None
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f"a step is not JSON: {error}") from None
        if not 0 < len(action) <= _MOST_DIMS:
            return None
        rows.append(action)
    if not rows or len({len(row) for row in rows}) > 1:
        return None
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        actions = np.array(rows, np.float64).astype(np.float32)
    return actions if np.isfinite(actions).all() else None


def _notes(episodes: Iterable[FoundEpisode], repeated: int) -> list[str]:
    notes = []
    if errors := sum(one.status == ERROR for one in episodes):
        notes.append(
            f"{EVALUATOR} counts its {plural(errors, 'error')} as {'failures' if errors > 1 else 'a failure'}; here an "
            "error says nothing about the policy"
        )
    if repeated:
        notes.append(
            f"Of episodes that ran several times the last counts: {plural(repeated, 'result')} left out"
        )
    return notes


def _about(sections: Mapping[str, Any], benchmarks: Mapping[str, _Benchmark]) -> dict[str, Any]:
    """Return sections of the manifest; a benchmark's are under its name."""
    configs: dict[str, Any] = {}
    servers: dict[str, Any] = {}
    for name, one in benchmarks.items():
        place = word(one.benchmark)
        configs[place] = {"mode": one.mode, **(sections[name].get("config") or {})}
        configs[place]["render"] = sections[name].get("render")
        servers[place] = sections[name].get("server_info")
    versions = sorted({one.harness_version for one in benchmarks.values()} - {""})
    return {
        "policy": {"server": servers},
        "simulator": {"simulator": EVALUATOR, "benchmarks": configs},
        "versions": {EVALUATOR: ", ".join(versions)} if versions else {},
    }


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a column that holds text holds {type(value).__name__}")
    return value
