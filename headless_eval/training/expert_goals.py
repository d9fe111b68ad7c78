"""How a scripted expert sets a scene's target down: what comes over which point, at which heights, turned how."""

import math

import numpy as np

from headless_eval.sims.droid.geometry import rotation
from headless_eval.sims.droid.scenes import ContainerScene
from headless_eval.sims.droid.tabletop import Scene, Situation
from headless_eval.training.expert_arm import wrap

CARRY = 0.20  # metres, height of the pads on the way
_PAD_REACH = 0.024  # metres from the pads' midpoint to their tips, the fingers closed


class Goal:
    """Where and how the target of a scene is set down; heights are those of the pads' midpoint, in metres.

    Attributes:
        align: how far the target's point may be from its spot, horizontally, when it is lowered.
        lost: at which distance it is raised again.
        near: how far above its release height it is released.
        pace: share of the expert's pace on the way.
        lower_pace: the same while lowering.
    """

    align = 0.012
    lost = 0.03
    near = 0.008
    pace = 1.0
    lower_pace = 0.7

    def point(self, now: Situation) -> np.ndarray:
        """Return the point (3,) of the target that is brought over the spot."""
        raise NotImplementedError

    def spot(self, now: Situation) -> np.ndarray:
        """Return where in the world it belongs; (3,)."""
        return now.goal_pose[:3]

    def off(self, now: Situation) -> float:
        """Return the horizontal distance between point and spot."""
        return float(np.hypot(*(self.point(now) - self.spot(now))[:2]))

    def clear_height(self, now: Situation) -> float:
        """Return the height on the way."""
        raise NotImplementedError

    def release_height(self, now: Situation) -> float:
        """Return the height at which the target is released."""
        raise NotImplementedError

    def yaw(self, now: Situation, yaw: float) -> float:
        """Return the gripper's yaw at the release; ``yaw`` is the present one."""
        return 0.0


class InContainer(Goal):
    """The middle of the target comes over the container; it is released above the rim."""

    def __init__(self, scene: ContainerScene):
        self._target = scene.target
        self._points = np.array(scene.target.volume)
        assert scene.container.interior is not None
        self._depth = scene.container.interior.rim

    def point(self, now: Situation) -> np.ndarray:
        """Return the mean of the target's volume."""
        points = self._points @ rotation(now.target_pose[3:]).T + now.target_pose[:3]
        mean: np.ndarray = points.mean(axis=0)
        return mean

    def clear_height(self, now: Situation) -> float:
        """Return a height at which the target stays clear of the rim."""
        return max(CARRY, self._rim(now) + self._target.grasp_height + 0.025)

    def release_height(self, now: Situation) -> float:
        """Return the lowest height at which the pads' tips stay clear of the rim while they open."""
        return self._rim(now) + _PAD_REACH + 0.012

    def yaw(self, now: Situation, yaw: float) -> float:
        """Return the gripper's yaw for setting down: a long target is laid along a long container."""
        if self._target.grasp_symmetry != 2:
            return 0.0
        turn = rotation(now.goal_pose[3:])
        return wrap(math.atan2(turn[1, 0], turn[0, 0]) + math.pi / 2, math.pi)

    def _rim(self, now: Situation) -> float:
        return float(now.goal_pose[2]) + self._depth


def goal_of(scene: Scene) -> Goal:
    """Return how a scene's target is set down.

    Raises:
        TypeError: nothing is known of such scenes.
    """
    if isinstance(scene, ContainerScene):
        return InContainer(scene)
    raise TypeError(f"no expert knows how to set down the target of a {type(scene).__name__}")
