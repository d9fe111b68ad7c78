"""Initial states of the DROID scenes: poses of the bodies and joint positions, drawn from a trial's seed."""

from dataclasses import dataclass

import numpy as np

from headless_eval.sims.droid.geometry import yaw_quat
from headless_eval.sims.droid.scenes import HOME_JOINTS, Body, Region, Scene

HOME_NOISE = 0.03  # radians, uniform, each joint
_CLEARANCE = 0.015
_TRIES = 200


@dataclass(frozen=True)
class InitialState:
    """Joint positions (7,) and one pose (x, y, z, qw, qx, qy, qz) for each body of the scene, in its order."""

    joints: np.ndarray
    poses: np.ndarray

    @property
    def numbers(self) -> np.ndarray:
        """Return all of it as one vector."""
        return np.concatenate([self.joints, self.poses.ravel()])


def draw_initial_state(scene: Scene, generator: np.random.Generator) -> InitialState:
    """Draw an initial state: positions uniform over each body's region, any yaw, no two footprints overlapping.

    Distractors without a free position are placed out of the robot's reach, at the far end of the table.
    """
    joints = np.array(HOME_JOINTS) + generator.uniform(-HOME_NOISE, HOME_NOISE, 7)
    while True:
        placed: list[tuple[Body, np.ndarray]] = []
        for body, region in ((scene.target, scene.target_region), (scene.container, scene.container_region)):
            placed.append((body, _draw(region, generator)))
        if _is_free(*placed[1], placed[:1]):
            break
    for index, body in enumerate(scene.distractors):
        for _ in range(_TRIES):
            pose = _draw(scene.distractor_region, generator)
            if _is_free(body, pose, placed):
                break
        else:
            pose = np.array([0.72, -0.3 + 0.2 * index, 0.0])
        placed.append((body, pose))
    poses = np.array([[x, y, 0.0, *yaw_quat(yaw)] for _, (x, y, yaw) in placed])
    return InitialState(joints, poses)


def _draw(region: Region, generator: np.random.Generator) -> np.ndarray:
    return np.array(
        [generator.uniform(*region.x), generator.uniform(*region.y), generator.uniform(*region.yaw)]
    )


def _is_free(body: Body, pose: np.ndarray, placed: list[tuple[Body, np.ndarray]]) -> bool:
    return all(
        np.hypot(*(pose[:2] - other_pose[:2])) > body.footprint + other.footprint + _CLEARANCE
        for other, other_pose in placed
    )
