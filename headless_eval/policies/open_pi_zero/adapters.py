"""Between a robot's observations and actions and the model's numbers, as open-pi-zero's SimplerEnv adapters do it."""

import math
from functools import lru_cache

import numpy as np

GRIPPER = 6
"""Where an action's gripper is."""

_BRIDGE_TOOL = np.array(
    [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]
)  # how BridgeData turns the tool's frame
_STICKY_STEPS = 15  # control steps for which a gripper of Google's robot keeps moving once it has begun
_TAPS, _BITS = 8, 11  # of OpenCV's LANCZOS4, and of its fixed-point weights


def bridge_state(state: np.ndarray) -> np.ndarray:
    """Return what the model knows of a WidowX, float64 (7,): position, Euler angles (sxyz, rad), openness.

    Args:
        state: (8,), the robot contract's: position, quaternion (w first), openness.
    """
    turned = _matrix_of(state[3:7]) @ _BRIDGE_TOOL.T
    return np.concatenate([state[:3], _euler_of(turned), state[7:]])


def _matrix_of(quaternion: np.ndarray) -> np.ndarray:
    w, x, y, z = quaternion
    length = float(quaternion @ quaternion)
    if length < np.finfo(float).eps:  # as of a robot that nobody has asked yet: not turned
        return np.eye(3)
    s = 2.0 / length
    return np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
        ]
    )


def _euler_of(matrix: np.ndarray) -> np.ndarray:
    """Return the angles about the fixed axes x, y, z, in this order."""
    cosine = math.hypot(matrix[0, 0], matrix[1, 0])
    pitch = math.atan2(-matrix[2, 0], cosine)
    if cosine > 4 * np.finfo(float).eps:
        roll, yaw = math.atan2(matrix[2, 1], matrix[2, 2]), math.atan2(matrix[1, 0], matrix[0, 0])
    else:
        roll, yaw = math.atan2(-matrix[1, 2], matrix[1, 1]), 0.0
    return np.array([roll, pitch, yaw])


def axis_angle(euler: np.ndarray) -> np.ndarray:
    """Return the rotation of Euler angles (3,) (sxyz: roll, pitch, yaw; rad) as its axis times its angle, (3,)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(euler / 2), np.sin(euler / 2)
    w = cx * cy * cz + sx * sy * sz
    axis = np.array([sx * cy * cz - cx * sy * sz, cx * sy * cz + sx * cy * sz, cx * cy * sz - sx * sy * cz])
    length = float(np.linalg.norm(axis))
    if length < 1e-12:
        return np.zeros(3)
    return axis / length * 2 * math.acos(max(-1.0, min(1.0, w)))


def euler_angles(rotation: np.ndarray) -> np.ndarray:
    """Return the Euler angles (3,) (sxyz, rad) of a rotation given as its axis times its angle, (3,)."""
    angle = float(np.linalg.norm(rotation))
    half = np.sin(angle / 2) / angle if angle > 1e-12 else 0.5
    return _euler_of(_matrix_of(np.array([np.cos(angle / 2), *(half * rotation)])))


def model_actions(actions: np.ndarray, robot: str) -> np.ndarray:
    """Turn a robot's actions (horizon, 7) into a chunk that the model learns: the reverse of what it is asked for.

    Args:
        actions: as the robot takes them.
        robot: ``"widowx"`` or ``"google_robot"``.
    """
    chunk = np.array(actions, np.float64)
    chunk[:, 3:6] = [euler_angles(row[3:6]) for row in actions]
    opening = actions[:, GRIPPER] if robot == "widowx" else -actions[:, GRIPPER]
    chunk[:, GRIPPER] = (opening + 1) / 2
    return chunk


def bridge_actions(chunk: np.ndarray) -> np.ndarray:
    """Turn a chunk (horizon, 7) of Euler angles, its gripper 0 closed to 1 open, into a WidowX's actions."""
    actions = _with_axis_angles(chunk)
    actions[:, GRIPPER] = np.where(chunk[:, GRIPPER] > 0.5, 1.0, -1.0)
    return actions


class StickyGripper:
    """The gripper of Google's robot in one episode: once told to open or close, it goes on for fifteen steps."""

    def __init__(self) -> None:
        self._left = 0
        self._moving = 0.0

    def actions(self, chunk: np.ndarray) -> np.ndarray:
        """Turn a chunk (horizon, 7) of Euler angles, its gripper 0 closed to 1 open, into the robot's actions.

        All rows count as steps, as in open-pi-zero, also those that are not executed.
        """
        actions = _with_axis_angles(chunk)
        actions[:, GRIPPER] = [self._next(1.0 - 2.0 * openness) for openness in chunk[:, GRIPPER]]
        return actions

    def _next(self, change: float) -> float:
        if self._left == 0 and abs(change) > 0.5:
            self._moving, self._left = change, _STICKY_STEPS
        if self._left == 0:
            return change
        self._left -= 1
        return self._moving


def _with_axis_angles(chunk: np.ndarray) -> np.ndarray:
    actions = np.array(chunk, np.float64)
    actions[:, 3:6] = [axis_angle(row[3:6]) for row in actions]
    return actions


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Scale an image uint8 (height, width, 3) to a square of this size by OpenCV's LANCZOS4, bit by bit as it does.

    It takes the nearest eight pixels along each axis, however much smaller the square is.
    """
    if image.shape[:2] == (size, size):
        return image
    height, width = image.shape[:2]
    rows, row_weights = _taps(height, size)
    columns, column_weights = _taps(width, size)
    wide = np.einsum("hstc,st->hsc", image[:, columns].astype(np.int32), column_weights)
    both = np.einsum("sthc,st->shc", wide[rows], row_weights)
    return ((both + (1 << (2 * _BITS - 1))) >> (2 * _BITS)).clip(0, 255).astype(np.uint8)


@lru_cache
def _taps(length: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels make up each of ``size`` pixels, int64 (size, 8), and their weights times 2048, int32."""
    centre = ((np.arange(size) + 0.5) * (length / size) - 0.5).astype(np.float32)
    whole = np.floor(centre)
    distance = (centre - whole)[:, None] + np.float32(3) - np.arange(_TAPS, dtype=np.float32)
    there = np.abs(distance) < 1e-6  # a pixel falls on another one: it alone counts
    angle = np.where(there, 1.0, distance.astype(np.float64)) * math.pi / 4
    # sinc(x) sinc(x / 4), without the factors that all taps of a pixel share.
    weights = np.where(np.arange(_TAPS) % 2, -1.0, 1.0) * np.sin(angle) / angle**2
    weights = weights.astype(np.float32)
    weights = np.where(there.any(1, keepdims=True), there, weights / weights.sum(1, keepdims=True))
    places = (whole.astype(np.int64)[:, None] + np.arange(_TAPS) - 3).clip(0, length - 1)
    return places, np.rint(weights * (1 << _BITS)).astype(np.int32)
