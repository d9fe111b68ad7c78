"""Trackers: where the settings, rates, page and videos of a run are sent to, one file each.

Another package adds one by an entry point in the group ``headless_eval.trackers``.
"""

import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from headless_eval.contracts.registry import Registry
from headless_eval.errors import UserError
from headless_eval.shared.program import install

PROJECT = "headless-eval"
"""The project or experiment that runs belong to, unless the tracker's own environment variable names another."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker has to know of a run before its first number.

    Args:
        key: the same for every session of a run, and different for two runs.
        name: the name of the run's folder.
        folder: the run's folder.
        settings: settings and identity of the run, as texts and numbers by name.
    """

    key: str
    name: str
    folder: Path
    settings: Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class TrackedVideo:
    """The video of an episode: where it is called to be, such as ``int8_both/scene_1_ep000``, and its file."""

    name: str
    path: Path


class Tracker(Protocol):
    """A tracker, open for one run; its class is registered in ``TRACKERS``, and has ``package``, what it imports.

    Any exception ends the tracking, and nothing else.
    """

    def __init__(self, run: TrackedRun) -> None:
        """Open the run there, or the one of an earlier session with its key."""
        ...

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers by name as they are after ``step`` episodes; returns at once."""
        ...

    def finish(self, page: Path, videos: Sequence[TrackedVideo]) -> None:
        """Send the report page and the videos, and close the run; returns when all is sent."""
        ...


TRACKERS: Registry[type[Tracker]] = Registry("tracker", __name__)


def find_trackers(names: Sequence[str]) -> dict[str, type[Tracker]]:
    """Return the classes of trackers, by name; ``none`` is no tracker.

    Raises:
        UserError: a tracker is unknown, or its package is not installed.
    """
    found = {name: TRACKERS.find(name) for name in dict.fromkeys(names) if name != "none"}
    for name, tracker in found.items():
        package = getattr(tracker, "package", name)
        if importlib.util.find_spec(package) is None:
            raise UserError(f"--track {name} needs {package}: run {install(f'headless-eval[{name}]')}")
    return found


def tracked_run(folder: Path, manifest: Mapping[str, Any]) -> TrackedRun:
    """Return what trackers have to know of a run."""
    identity = json.dumps([manifest.get(name) for name in ("started_at", "command", "hardware")])
    key = hashlib.sha256(identity.encode()).hexdigest()[:12]
    policy = manifest.get("policy")
    facts: dict[str, Any] = dict(manifest.get("settings") or {})
    facts |= {name: manifest.get(name) for name in ("suite", "seed", "episodes", "baseline")}
    facts |= {"variants": [one["name"] for one in manifest["variants"]]}
    if isinstance(policy, Mapping):
        facts |= {f"policy_{name}": policy.get(name) for name in ("name", "class", "fingerprint", "engine")}
    settings = {name: _scalar(value) for name, value in facts.items() if value not in (None, [], ())}
    return TrackedRun(key, folder.resolve().name, folder.resolve(), settings)


def _scalar(value: Any) -> str | int | float | bool:
    if isinstance(value, str | int | float):
        return value
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else json.dumps(value, default=str)
