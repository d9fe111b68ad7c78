"""What a LeRobot folder states: the policy's type, its features, its robot, and where its pictures come from.

``config.json`` is LeRobot's. ``config.toml`` beside it, or a file named by ``--config-file``, is ours and optional:

    family = "lerobot"
    robot = "droid"

    [cameras]
    "observation.images.camera1" = "observation/exterior_image_1_left"
    "observation.images.camera2" = ""

An empty text leaves a picture out, for policies that can do without.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headless_eval.contracts.robots import IMAGE_SIZE, Camera, Robot
from headless_eval.errors import UserError
from headless_eval.policies.stated_features import ACTION, IMAGES, STATE, find_robot
from headless_eval.shared.files import is_name
from headless_eval.shared.toml import read_toml
from headless_eval.shared.untrusted import read_json

FAMILY = "lerobot"
OUR_READERS = ("pi0", "pi05")
"""LeRobot's types that the family of π0 reads without LeRobot."""

PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"

_EMPTY = f"{IMAGES}empty_camera_"  # what LeRobot adds for cameras that a robot lacks; never filled
_KEYS = ("family", "robot", "cameras")
_LETTERBOX = (
    "pi0",
    "pi05",
    "pi0_fast",
    "smolvla",
    "xvla",
)  # types that fit pictures of any shape into a square
_ALIASES = {"libero": {"image2": "observation/wrist_image"}}  # LeRobot's names where they are not the robot's


@dataclass(frozen=True)
class LeRobotConfig:
    """The configuration of a LeRobot policy.

    Args:
        name: the folder's name.
        folder: the folder.
        type: LeRobot's name of the kind of policy, such as ``"act"``.
        robot: the policy's robot.
        state: whether the policy sees the robot's state.
        cameras: the key in an observation of each picture, by the feature's name before the preprocessor.
        sizes: height and width of each picture in pixels; None: the policy fits pictures of any size.
        stated: the content of ``config.json``.
    """

    name: str
    folder: Path
    type: str
    robot: Robot
    state: bool
    cameras: Mapping[str, str]
    sizes: Mapping[str, tuple[int, int] | None]
    stated: Mapping[str, Any] = field(repr=False)

    @property
    def image_size(self) -> int:
        """Return the side in pixels of the pictures to ask a simulator for."""
        return max((size[0] for size in self.sizes.values() if size is not None), default=IMAGE_SIZE)


def stated_type(folder: Path) -> str | None:
    """Return the type that a LeRobot folder's ``config.json`` names; None if the folder is not LeRobot's."""
    try:
        stated = read_json(folder / "config.json")
    except (OSError, ValueError):
        return None
    if not isinstance(stated, dict) or not {"input_features", "output_features"} & set(stated):
        return None
    kind = stated.get("type")
    return kind if isinstance(kind, str) else None


def read_config(folder: Path, file: Path | None = None, robot: str | None = None) -> LeRobotConfig:
    """Read what a folder states.

    Args:
        folder: a folder of LeRobot's ``save_pretrained``.
        file: our TOML file; None: ``config.toml`` in the folder, if it exists.
        robot: the name of the robot; None: the TOML file or the features tell.

    Raises:
        UserError: a file is missing or malformed, the features are of no known robot, or they need what the robot's
            suites do not show.
    """
    path = folder / "config.json"
    stated, ours = _read_json(path), _read_ours(folder, file)
    kind = stated.get("type")
    if not isinstance(kind, str):
        raise UserError(f"{path} names no type of policy: it is no configuration of LeRobot")
    try:
        found = find_robot(stated, path, robot or ours.get("robot"))
        features = _before_preprocessor(stated, folder)
        state, pictures = _split(features, found, path)
        cameras = _find_cameras(pictures, found, ours.get("cameras", {}), path)
        sizes = {
            name: _size(name, feature, kind, path) for name, feature in pictures.items() if name in cameras
        }
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is no configuration of LeRobot ({error!r})") from None
    return LeRobotConfig(folder.resolve().name, folder, kind, found, state, cameras, sizes, stated)


def read_processor(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the steps of a processor, ``PREPROCESSOR`` or ``POSTPROCESSOR``.

    Raises:
        UserError: the file is missing or malformed, or a step would run code that is not LeRobot's.
    """
    path = folder / name
    if not path.is_file():
        raise UserError(
            f"{folder} has no {name}: without the normalisation in it every action would be wrong. Copy it from the "
            "checkpoint; LeRobot writes it for folders older than its version 0.4 with "
            f"python -m lerobot.processor.migrate_policy_normalization --pretrained-path {folder}"
        )
    steps = _read_json(path).get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise UserError(f"{path} lists no steps: it is no processor of LeRobot")
    for step in steps:
        place = step.get("class")
        if "registry_name" not in step and not str(place).startswith("lerobot."):
            raise UserError(f"{path} would run {place}, which is no part of LeRobot: not loaded")
        if (state := step.get("state_file")) is not None and not is_name(str(state)):
            raise UserError(f"{path} names the file {state!r}, which is not in its folder: not loaded")
    return steps


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise UserError(f"there is no {path}: LeRobot's folders hold one") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is no table")
    return content


def _read_ours(folder: Path, file: Path | None) -> dict[str, Any]:
    path = folder / "config.toml" if file is None else file
    if file is None and not path.is_file():
        return {}
    try:
        table = read_toml(path)
        for key in table:
            if key not in _KEYS:
                raise UserError(f"unknown key {key!r}: known are {', '.join(_KEYS)}")
        cameras = table.get("cameras", {})
        if not isinstance(cameras, dict) or not all(isinstance(value, str) for value in cameras.values()):
            raise UserError("'cameras' has to be a table of texts")
        if not isinstance(table.get("robot", ""), str):
            raise UserError("'robot' has to be a text")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return table


def _before_preprocessor(stated: Mapping[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """Return the policy's input features by the names that they have before the preprocessor renames them."""
    renamed: dict[str, str] = {}
    for step in read_processor(folder, PREPROCESSOR):
        renamed |= (step.get("config") or {}).get("rename_map") or {}
    before = {new: old for old, new in renamed.items()}
    return {before.get(name, name): feature for name, feature in (stated["input_features"] or {}).items()}


def _split(
    features: Mapping[str, dict[str, Any]], robot: Robot, path: Path
) -> tuple[bool, dict[str, dict[str, Any]]]:
    """Return whether the state is among the features, and the pictures among them."""
    pictures, state = {}, False
    for name, feature in features.items():
        if name.startswith(_EMPTY):
            continue
        if feature["type"] == "VISUAL":
            pictures[name] = feature
        elif name == STATE:
            state = True
        elif name != ACTION:
            raise UserError(
                f"{path}: the policy needs {name}, which suites do not show; they show {STATE} and the pictures of "
                f"{_named(robot.cameras)}"
            )
    return state, pictures


def _find_cameras(
    pictures: Mapping[str, Any], robot: Robot, given: Mapping[str, str], path: Path
) -> dict[str, str]:
    """Return the key in an observation of each picture: as given, or by the robot's names of its cameras."""
    keys = {camera.key for camera in robot.cameras}
    for name, key in given.items():
        if name not in pictures:
            raise UserError(
                f"the picture {name} is none of the policy's pictures ({', '.join(pictures) or 'it sees no picture'})"
            )
        if key and key not in keys:
            raise UserError(f"the robot {robot} has no camera {key}: it has {', '.join(sorted(keys))}")
    names = {_short(camera): camera.key for camera in robot.cameras}
    names |= {camera.view: camera.key for camera in robot.cameras} | _ALIASES.get(robot.name, {})
    found = {name: given.get(name, names.get(name.removeprefix(IMAGES))) for name in pictures}
    strange = [name for name, key in found.items() if key is None]
    if strange:
        raise UserError(
            f"{path}: the policy sees {', '.join(strange)}, and the robot {robot} has the cameras "
            f"{_named(robot.cameras)}: say which is which in a file with family, robot and [cameras] "
            "(--config-file FILE; docs/lerobot.md)"
        )
    return {name: key for name, key in found.items() if key}


def _named(cameras: tuple[Camera, ...]) -> str:
    return ", ".join(_short(camera) for camera in cameras)


def _short(camera: Camera) -> str:
    return camera.key.rpartition("/")[2]


def _size(name: str, feature: Mapping[str, Any], kind: str, path: Path) -> tuple[int, int] | None:
    _, height, width = feature["shape"]
    if kind in _LETTERBOX:
        return None
    if height != width:
        raise UserError(
            f"{path}: the policy was trained on pictures of {height}x{width} pixels ({name}), and suites show square "
            f"ones; a policy of the type {kind} does not adapt"
        )
    return height, width
