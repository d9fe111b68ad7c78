"""Success predicate of the DROID scenes: strict, on geometry and rest, the same for every simulator."""

from dataclasses import dataclass

import numpy as np

from headless_eval.sims.droid.geometry import rotation
from headless_eval.sims.droid.scenes import CONTROL_HZ, FINGER_CLOSED, Scene

INSIDE_SHARE = 0.75  # of the target's volume points
UPRIGHT_COS = float(np.cos(np.radians(15.0)))  # tilt of the container
OPENING_MARGIN = 0.01  # metres the pads stand wider than the target
CLEAR_DISTANCE = 0.06  # metres from the pads' midpoint to the nearest volume point
REST_LINEAR = 0.02  # metres a second
REST_ANGULAR = 0.3  # radians a second
REST_STEPS = int(np.ceil(0.5 * CONTROL_HZ))  # 0.5 s

# The 2F-85's knuckle: its length, and its angle from the approach axis when open.
_KNUCKLE_LENGTH, _KNUCKLE_ANGLE = 0.0575, 0.6546
_STROKE = 0.085


def pad_opening(gripper_position: float) -> float:
    """Return the distance between the pads in metres for a gripper position from 0 (open) to 1 (closed)."""
    turned = np.sin(_KNUCKLE_ANGLE) - np.sin(_KNUCKLE_ANGLE - gripper_position * FINGER_CLOSED)
    return float(_STROKE - 2 * _KNUCKLE_LENGTH * turned)


@dataclass(frozen=True)
class Situation:
    """Inputs of the success predicate, in the world's frame (metres).

    Poses are (x, y, z, qw, qx, qy, qz); ``target_velocity`` is linear (m/s) then angular (rad/s); ``tcp`` is the
    midpoint between the pads; ``gripper_position`` runs from 0 (open) to 1 (closed).
    """

    target_pose: np.ndarray
    target_velocity: np.ndarray
    container_pose: np.ndarray
    tcp: np.ndarray
    gripper_position: float


class SuccessTracker:
    """Success predicate over one episode: the target is inside, released and at rest for 0.5 s.

    *Inside*: at least 75 % of the points spread through the target's volume, and their mean, are within the
    container's interior (its actual shape, floor to rim), and the container stands within 15 degrees of upright.
    *Released*: the gap between the pads is at least 1 cm wider than the target, or the target is 6 cm or more from the
    pads' midpoint. *At rest*: slower than 2 cm/s and 0.3 rad/s. All three must hold for eight control steps in a row.
    """

    def __init__(self, scene: Scene):
        if scene.container.interior is None:
            raise ValueError(f"{scene.container.name} has no interior")
        self._interior = scene.container.interior
        self._points = np.array(scene.target.volume)
        self._release_opening = scene.target.grasp_width + OPENING_MARGIN
        self._steps_held = 0

    def update(self, now: Situation) -> bool:
        """Take the situation after a control step; return whether the task is solved."""
        self._steps_held = self._steps_held + 1 if self._holds(now) else 0
        return self._steps_held >= REST_STEPS

    def _holds(self, now: Situation) -> bool:
        if np.linalg.norm(now.target_velocity[:3]) > REST_LINEAR:
            return False
        if np.linalg.norm(now.target_velocity[3:]) > REST_ANGULAR:
            return False
        points = self._points @ rotation(now.target_pose[3:]).T + now.target_pose[:3]
        return self.is_inside(points, now.container_pose) and self._is_released(points, now)

    def is_inside(self, points: np.ndarray, container_pose: np.ndarray) -> bool:
        """Tell whether a body with these (N, 3) world points lies in the upright container."""
        turn = rotation(container_pose[3:])
        if turn[2, 2] < UPRIGHT_COS:
            return False
        local = (points - container_pose[:3]) @ turn
        centre = local.mean(axis=0, keepdims=True)
        return bool(
            self._interior.contains(centre)[0] and self._interior.contains(local).mean() >= INSIDE_SHARE
        )

    def _is_released(self, points: np.ndarray, now: Situation) -> bool:
        if pad_opening(now.gripper_position) >= self._release_opening:
            return True
        return bool(np.linalg.norm(points - now.tcp, axis=1).min() >= CLEAR_DISTANCE)
