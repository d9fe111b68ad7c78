"""The robot of a LeRobot folder, told by the features that its ``config.json`` states."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headless_eval.contracts.robots import ROBOTS, Robot
from headless_eval.errors import UserError

ACTION, STATE, IMAGES = "action", "observation.state", "observation.images."
"""LeRobot's names of the action, of the state, and of pictures, to which a camera's name is added."""


def find_robot(stated: Mapping[str, Any], path: Path, named: str | None) -> Robot:
    """Return the robot named, or the only one that has the stated features.

    Args:
        stated: the content of ``config.json``: ``input_features`` and ``output_features``, each with a ``shape``.
        path: the file, for messages.
        named: the name of a robot; None: the features tell.

    Raises:
        UserError: no known robot has the features, several have and none is named, or the robot named has others.
        KeyError: the file states no action; further errors of a malformed file are TypeError and IndexError.
    """
    features = stated.get("input_features") or {}
    action_dims = stated["output_features"][ACTION]["shape"][0]
    state = features.get(STATE)
    state_dims = None if state is None else state["shape"][0]
    fitting = {
        name: robot
        for name, robot in ROBOTS.items()
        if robot.action_dims == action_dims and state_dims in (None, robot.state_dims)
    }
    what = f"{path} is of a robot with {action_dims} actions"
    if state_dims is not None:
        what += f" and {state_dims} numbers of state"
    if named is not None:
        robot = ROBOTS.find(named)
        if named not in fitting:
            raise UserError(
                f"{what}, {named} has {robot.action_dims} and {robot.state_dims}: name another robot"
            )
        return robot
    if not fitting:
        known = ", ".join(f"{name} ({of.action_dims} and {of.state_dims})" for name, of in ROBOTS.items())
        raise UserError(f"{what}; known are {known}")
    if len(fitting) > 1:  # the cameras may tell; but many checkpoints rename them
        seen = {key.rpartition(".")[2] for key in features if key.startswith(IMAGES)}
        by_cameras = [
            name
            for name, robot in fitting.items()
            if {camera.key.rpartition("/")[2] for camera in robot.cameras} == seen
        ]
        if len(by_cameras) != 1:
            raise UserError(f"{what}: that may be {' or '.join(fitting)}; name it with --robot NAME (robot=)")
        return fitting[by_cameras[0]]
    return next(iter(fitting.values()))
