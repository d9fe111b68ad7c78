"""Pitfalls that show in the policy's replies: to the first observations, and to the same with something changed."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from headless_eval.contracts.robots import ActionGroup, StateGroup
from headless_eval.policies.checks import FAILED, OK, UNKNOWN, WARNING
from headless_eval.runs.pitfalls.evidence import Evidence
from headless_eval.runs.pitfalls.known import Finding

Change = Callable[[Mapping[str, Any]], dict[str, Any]]

_FAR = {"rad": 0.8, "px": 128.0, "m": 0.3}
"""How far a first action may lie from the present position; no robot here moves so far in a control step."""
_LARGEST = {"-1 to 1": 1.5, "m": 0.25, "rad": 1.0}
"""How large a first change of position may be."""
_NEARER = 3.0
"""How much nearer another reading of an action has to be before it is believed."""
_EDGE = 0.02
"""The outer part of a picture that a crop of 90 % of the area leaves out, a side."""


class _Distances(NamedTuple):
    """How far a group's first actions are from where the robot is, by how they are read; "" as they are."""

    group: ActionGroup
    unit: str
    limit: float
    apart: dict[str, float]


def relative_or_absolute(evidence: Evidence) -> Finding:
    """Compare the first actions with where the robot is: a target lies near it, a change of position near zero."""
    checked = list(_distances(evidence))
    if not checked:
        return Finding(
            "relative", UNKNOWN, "the robot's actions have no units to judge by", "look at a run's video"
        )
    for group, unit, limit, apart in checked:
        if apart[""] <= limit:
            continue
        other = min((reading for reading in apart if reading), key=lambda reading: apart[reading])
        if apart[""] > _NEARER * apart[other]:
            return Finding("relative", FAILED, *_told(group, other, apart[""], unit))
        return Finding(
            "relative",
            WARNING,
            f"the first actions of the {group.name} are {apart['']:.3g} {unit} away from where the robot is",
            "look whether they are in the robot's units, un-normalised, and relative or absolute as it takes them",
        )
    text = "; ".join(
        f"{group.name} {apart['']:.2g} {unit}, {limit:g} are possible"
        for group, unit, limit, apart in checked
    )
    return Finding("relative", OK, f"the first actions begin where the robot is: {text}")


def _distances(evidence: Evidence) -> Iterator[_Distances]:
    """Yield the distances of each group whose unit tells what is near."""
    first, start = evidence.replies[:, 0], 0
    for group in evidence.robot.actions:
        at, units = slice(start, start + group.dims), _units(group)
        start += group.dims
        if open_and_closed(group) is not None:
            continue
        said = first[:, at]
        if group.hold is not None and units[0] in _FAR:
            now = np.stack([np.ravel(obs[group.hold])[: group.dims] for obs in evidence.observations])
            readings = {"": said - now, "relative": said, "twice": said - 2 * now}
            yield _Distances(
                group, units[0], _FAR[units[0]], {name: _apart(of) for name, of in readings.items()}
            )
        elif group.hold is None and units[0] in _LARGEST:
            now = np.stack([evidence.group_of_state(obs)[at] for obs in evidence.observations])
            largest = np.array([_LARGEST.get(unit, np.inf) for unit in units])
            readings = {"": said / largest, "absolute": (said - now) / largest}
            apart = {name: _apart(of) for name, of in readings.items()}
            yield _Distances(group, "times the largest change", 1.0, apart)


def _told(group: ActionGroup, reading: str, apart: float, unit: str) -> tuple[str, str]:
    """Return the finding and the remedy for actions that are read in the wrong way."""
    far = f"the first actions of the {group.name} are {apart:.3g} {unit} away from where the robot is"
    if reading == "relative":
        return (
            f"{far}, but near zero: they are changes or velocities",
            "add the state to them (delta_actions_mask)",
        )
    if reading == "twice":
        return (
            f"{far}: the state was added to actions that are absolute",
            "do not add it (delta_actions_mask)",
        )
    return (
        f"the first actions of the {group.name} are near the robot's pose: they are absolute",
        "the robot takes changes of its pose: subtract the state, or do not add it (delta_actions_mask)",
    )


def _apart(difference: np.ndarray) -> float:
    """Return the largest dimension's difference, the median over the observations."""
    return float(np.abs(np.median(difference, axis=0)).max())


def _units(group: ActionGroup) -> tuple[str, ...]:
    return (group.unit,) * group.dims if isinstance(group.unit, str) else tuple(group.unit)


def gripper(evidence: Evidence) -> Finding:
    """Look whether the first actions close an open gripper, and whether they are in the gripper's range."""
    start, found = 0, []
    for group in evidence.robot.actions:
        at, ends = slice(start, start + group.dims), open_and_closed(group)
        start += group.dims
        if ends is not None:
            found.append((group, at, ends))
    if not found:
        return Finding("gripper", OK, "the robot has no gripper")
    for group, at, (opened, closed) in found:
        said = evidence.replies[:, : evidence.open_loop_horizon, at]
        shares = (said - opened) / (closed - opened)  # 0 open, 1 closed
        if shares.min() < -0.6 or shares.max() > 1.6:
            return Finding(
                "gripper",
                WARNING,
                f"the {group.name} is told {said.min():.3g} to {said.max():.3g}, the robot takes {_unit(group)}",
                "scale it to the robot's range",
            )
        stats = evidence.action_stats
        if stats is not None and stats.q01 is not None and stats.q99 is not None and opened * closed < 0:
            low, high = float(stats.q01[at][0]), float(stats.q99[at][0])
            if low > -0.1 and high > 0.5 and said.min() > -0.1:
                text = (
                    f"the {group.name} is {low:.2g} to {high:.2g} in training, the robot takes {_unit(group)}"
                )
                return Finding("gripper", WARNING, text, "scale it to the robot's range, and mind the sign")
        share = float(np.median(shares[:, 0]))
        rests = _share_at_rest(evidence)
        if share > 0.75 and rests is not None and rests < 0.5:
            return Finding(
                "gripper",
                WARNING,
                f"the first actions close the {group.name} ({np.median(said[:, 0]):.2g}), which is open and empty",
                f"turn its sign: the robot takes {_unit(group)}",
            )
    text = ", ".join(
        f"{group.name} {np.median(evidence.replies[:, 0, at]):.2g} ({_unit(group)})" for group, at, _ in found
    )
    return Finding("gripper", OK, f"the first actions leave it as it is: {text}")


def _unit(group: ActionGroup) -> str:
    return group.unit if isinstance(group.unit, str) else group.unit[0]


def open_and_closed(group: ActionGroup | StateGroup) -> tuple[float, float] | None:
    """Return the numbers for open and closed that a group's unit states; None: it is no gripper."""
    unit = group.unit if isinstance(group.unit, str) else group.unit[-1]
    stated = {word: float(number) for number, word in re.findall(r"(-?\d+) (open|close)", unit)}
    return (stated["open"], stated["close"]) if len(stated) == 2 else None


def _share_at_rest(evidence: Evidence) -> float | None:
    """Return how closed the gripper is in the first observations, 0 to 1.

    Every task of every suite here begins with an open gripper; a state in another unit, such as that of LIBERO's
    fingers in metres, is taken to say so.
    """
    for group in evidence.robot.state:
        if (ends := open_and_closed(group)) is not None:
            opened, closed = ends
            numbers = [float(np.ravel(obs[group.key])[-1]) for obs in evidence.observations]
            return (float(np.median(numbers)) - opened) / (closed - opened)
    return 0.0


def unread(evidence: Evidence) -> Finding:
    """Change one part of the observations after another: a part that changes no reply is not read."""
    robot = evidence.robot
    parts: dict[str, Change] = {
        f"the camera {camera.key}": _inverted([camera.key]) for camera in robot.cameras
    }
    parts["the state"] = _moved([group.key for group in robot.state])
    if len({trial.task.id for trial in evidence.trials}) > 1:  # a policy of one task need not read it
        parts["the instruction"] = lambda obs: {**obs, "prompt": "do nothing"}
    ignored = [name for name, change in parts.items() if not _matters(evidence, change)]
    if len(ignored) == len(parts):
        change = "no policy does that: look whether it is loaded"
        return Finding("unread", WARNING, "the replies are the same whatever is observed", change)
    if ignored:
        text = f"the replies do not depend on {' and '.join(ignored)}"
        return Finding("unread", WARNING, text, "right only if it was trained without; else hand it on")
    return Finding("unread", OK, f"the replies depend on {', '.join(parts)}")


def _inverted(cameras: Sequence[str]) -> Change:
    return lambda obs: {**obs, **{key: 255 - obs[key] for key in cameras}}


def _moved(groups: Sequence[str]) -> Change:
    return lambda obs: {**obs, **{key: np.asarray(obs[key]) + np.float32(0.1) for key in groups}}


def crop(evidence: Evidence) -> Finding:
    """Change the outermost part of the pictures: if no reply changes, the policy crops them."""
    if all_equal(evidence):
        return Finding("crop", UNKNOWN, "the replies do not depend on the pictures", "")
    if _matters(evidence, _with_other_edges):
        return Finding(
            "crop", OK, "the whole pictures are looked at, to their edges; right unless training cropped them"
        )
    return Finding(
        "crop",
        WARNING,
        f"the outermost {_EDGE:.0%} of the pictures change nothing: they are cropped",
        "right only for a policy trained on crops, such as OpenVLA's with image_aug; openpi crops nothing",
    )


def all_equal(evidence: Evidence) -> bool:
    """Return whether black pictures would get the same replies."""
    keys = [camera.key for camera in evidence.robot.cameras]
    return not _matters(evidence, lambda obs: {**obs, **{key: np.zeros_like(obs[key]) for key in keys}})


def _with_other_edges(obs: Mapping[str, Any]) -> dict[str, Any]:
    altered = dict(obs)
    for key, value in obs.items():
        if isinstance(value, np.ndarray) and value.ndim == 3:
            picture = 255 - value
            rows, columns = (max(1, int(_EDGE * side)) for side in picture.shape[:2])
            picture[rows:-rows, columns:-columns] = value[rows:-rows, columns:-columns]
            altered[key] = picture
    return altered


def _matters(evidence: Evidence, change: Change) -> bool:
    """Return whether the replies to changed observations differ from the replies to the observations."""
    changed = evidence.replies_to([change(obs) for obs in evidence.observations])
    return changed.shape != evidence.replies.shape or not np.array_equal(changed, evidence.replies)
