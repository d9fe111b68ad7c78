"""What a policy and a suite declare of the interface between them, compared before anything runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from headless_eval.contracts.robots import ActionGroup, Robot, StateGroup
from headless_eval.shared.suggest import unknown

REQUIREMENTS = ("cameras", "state", "action_dims", "control_hz", "action_horizon")
"""The keys of a policy's ``requires``."""


class Fit(NamedTuple):
    """A property of the interface.

    Args:
        what: the property.
        policy: what the policy declares.
        suite: what the suite, or the run, declares.
        fits: whether both agree; None: the policy declares nothing.
    """

    what: str
    policy: str
    suite: str
    fits: bool | None


@dataclass(frozen=True)
class Declared:
    """What a policy declares of its interface.

    Args:
        robot: its robot, or the name of a robot that is not known here; None: any robot.
        requires: more than the robot says, or something else: ``cameras`` and ``state``, the keys that it reads in an
            observation; ``action_dims``; ``control_hz``, in steps per second; ``action_horizon``, the number of actions
            of a chunk.

    Raises:
        UserError: a requirement is unknown.
    """

    robot: Robot | str | None = None
    requires: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.requires:
            if name not in REQUIREMENTS:
                raise unknown("requirement of the policy", name, REQUIREMENTS)

    def of(self, name: str, of_robot: Any) -> Any:
        """Return a requirement; if it is not stated, what the robot has; None if no robot is known."""
        return self.requires.get(name, of_robot if isinstance(self.robot, Robot) else None)


def compare(
    policy: Declared, suite: Robot, open_loop_horizon: int, control_hz: float | None = None
) -> list[Fit]:
    """Return the properties of the interface, each as policy and suite declare it.

    Args:
        policy: what the policy declares.
        suite: the suite's robot.
        open_loop_horizon: the number of actions of each chunk that the run executes.
        control_hz: the simulator's control steps per second; None: the robot's.
    """
    own = policy.robot if isinstance(policy.robot, Robot) else suite
    groups = [_text(group) for group in own.state]
    cameras = policy.of("cameras", [camera.key for camera in own.cameras])
    shown = [camera.key for camera in suite.cameras]
    state = policy.of("state", groups)
    given = [_text(group) for group in suite.state]
    if "state" in policy.requires:  # keys alone
        given = [group.key for group in suite.state]
    actions = policy.of("action_dims", [_text(group) for group in own.actions])
    taken: Any = [_text(group) for group in suite.actions]
    if "action_dims" in policy.requires:
        taken = suite.action_dims
    hz, theirs = policy.of("control_hz", own.control_hz), control_hz or suite.control_hz
    chunk = policy.requires.get("action_horizon")
    name = None if policy.robot is None else str(policy.robot)
    return [
        _fit("robot", name, suite.name, name == suite.name),
        _fit("cameras", cameras, shown, set(cameras or ()) <= set(shown)),
        _fit("state", state, given, set(state or ()) <= set(given)),
        _fit("actions", actions, taken, actions == taken),
        _fit("control rate", hz and f"{hz:g} Hz", f"{theirs:g} Hz", hz == theirs),
        _fit("actions of a chunk", chunk, f"{open_loop_horizon} executed", (chunk or 0) >= open_loop_horizon),
    ]


def _fit(what: str, own: Any, theirs: Any, fits: bool) -> Fit:
    if own is None:
        return Fit(what, "not declared", _listed(theirs), None)
    return Fit(what, _listed(own), _listed(theirs), fits)


def _listed(value: Any) -> str:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    return ", ".join(map(str, value)) or "none"


def _text(group: StateGroup | ActionGroup) -> str:
    """Return a group's key or name with its dimensions and units."""
    name = group.key if isinstance(group, StateGroup) else group.name
    units = [group.unit] if isinstance(group.unit, str) else dict.fromkeys(group.unit)
    dims = " ".join(group.names) if group.dims < 4 else group.dims
    return f"{name} ({dims}; {', '.join(units)})"
