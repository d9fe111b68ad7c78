"""Angles, rotations and camera axes in NumPy; quaternions are (w, x, y, z)."""

import math

import numpy as np


def yaw_quat(yaw: float) -> np.ndarray:
    """Return the quaternion (4,) of a rotation about +z by ``yaw`` radians."""
    return np.array([math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)])


def product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the quaternion (4,) that turns by ``second``, then by ``first``."""
    a, b, c, d = first
    left = np.array([[a, -b, -c, -d], [b, a, -d, c], [c, d, a, -b], [d, -c, b, a]])
    turned: np.ndarray = left @ second
    return turned


def rotation(quat: np.ndarray) -> np.ndarray:
    """Return the (3, 3) rotation matrix of a unit quaternion (4,), or (3, 3, ...) of quaternions (4, ...)."""
    w, x, y, z = quat
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def yaw_of(quat: np.ndarray) -> float:
    """Return the yaw in radians of a body that stands upright, turned by a unit quaternion (4,)."""
    turn = rotation(quat)
    return math.atan2(turn[1, 0], turn[0, 0])


def wrap(angle: float, period: float = 2 * math.pi) -> float:
    """Return an angle modulo ``period``, in the interval around zero; all in radians."""
    return (angle + period / 2) % period - period / 2


def look_at(pos: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return the (3, 3) matrix whose columns are a camera's right, up and backward axes."""
    backward = pos - target
    backward = backward / np.linalg.norm(backward)
    right = np.cross(up, backward)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(backward, right), backward], axis=1)
