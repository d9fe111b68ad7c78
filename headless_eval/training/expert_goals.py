"""How a scripted expert sets a scene's target down: what comes over which point, at which heights, turned how."""

import math

import numpy as np

from headless_eval.sims.droid.bodies import Body
from headless_eval.sims.droid.geometry import rotation, wrap, yaw_of
from headless_eval.sims.droid.precise.carry import CarryScene
from headless_eval.sims.droid.precise.family import with_face_up, yaw_error
from headless_eval.sims.droid.precise.insert import BOARD_HEIGHT, InsertScene
from headless_eval.sims.droid.precise.place import PlaceScene
from headless_eval.sims.droid.precise.stack import BASE_HEIGHT, StackScene
from headless_eval.sims.droid.precise.thread import POST_HEIGHT, ThreadScene
from headless_eval.sims.droid.scenes import ContainerScene
from headless_eval.sims.droid.tabletop import PAD_REACH, Scene, Situation

CARRY = 0.20  # metres, height of the pads on the way
_LOW_CARRY = 0.14  # metres, the same over low goals
_GUARD = 0.008  # metres above the rim at which a target is aligned
_DESCENT = 0.008  # metres ahead of the pads at most to which an aligned target is sent down
_LIFTED = 0.03  # metres above where it stood at which a target begins to move sideways
_INSIDE = 0.003  # metres below the rim from which on a target is inside
_FINE_TURN = 0.03  # radians
_FAR_TURN = 1.2  # radians
_BESIDE = 0.1  # metres between a cube and its goal within which the fingers have to mind the goal
_NEAR = 0.008  # metres above its release height at which a target is dropped into a container
_STANDS = 0.0015  # metres above where it stands at which a target is let go


class Goal:
    """Where and how the target of a scene is set down; heights are those of the pads' midpoint, in metres.

    Attributes:
        align: how far the target's point may be from its spot, horizontally, when it is lowered.
        lost: at which distance it is raised again.
        pace: share of the expert's pace on the way to the spot.
        lower_pace: share of the expert's pace while lowering.
        gain: how much of the gap to a point the setpoint asks for; less brakes in time.
        mass: of the target, in kilograms, where its weight is to be made up for.
    """

    align = 0.012
    lost = 0.03
    pace = 1.0
    lower_pace = 0.7
    gain = 1.0
    mass = 0.0

    def seen(self, now: Situation) -> Situation:
        """Return the situation as the expert sees it, where a target has several poses that look the same."""
        return now

    def grasp_yaw(self, now: Situation, yaw: float) -> float:
        """Return the gripper's yaw for the grasp; ``yaw`` is that nearest to the middle of the wrist's range."""
        return yaw

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
        """Return the height at which the pads move to the spot."""
        raise NotImplementedError

    def release_height(self, now: Situation) -> float:
        """Return the height to which the target is lowered."""
        raise NotImplementedError

    def is_down(self, now: Situation) -> bool:
        """Return whether the target is low enough to be released."""
        return bool(now.tcp[2] - self.release_height(now) < _NEAR)

    def yaw(self, now: Situation, yaw: float) -> float:
        """Return the gripper's yaw at the release; ``yaw`` is the present one."""
        return 0.0

    def aside(self, now: Situation, gap: np.ndarray, lifted: float, reach: float) -> np.ndarray:
        """Return how much of a horizontal gap (2,) the setpoint asks for on the way: up first.

        Args:
            now: the situation.
            gap: from the pads to where they are wanted, in metres.
            lifted: how far the target was lifted, in metres.
            reach: how far ahead of the pads the setpoint may be.
        """
        if now.tcp[2] >= self.clear_height(now) - 0.05:
            return gap
        return min(1.0, 4 * max(0.0, lifted - 0.03)) * gap


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
        return self._rim(now) + PAD_REACH + 0.012

    def yaw(self, now: Situation, yaw: float) -> float:
        """Return the gripper's yaw for setting down: a long target is laid along a long container."""
        if self._target.grasp_symmetry != 2:
            return 0.0
        return wrap(yaw_of(now.goal_pose[3:]) + math.pi / 2, math.pi)

    def _rim(self, now: Situation) -> float:
        return float(now.goal_pose[2]) + self._depth


class OnSpot(Goal):
    """The target is set down on its goal to the millimetre: aligned just above it, then lowered until it stands.

    Args:
        top: how far above the goal body's origin the target's lower end stands at last, in metres.
        rim: up to which height above the goal body's origin there is something in the way.
        fine: how well it is aligned before it goes down, in metres.
        stray: how far off it may come on the way to the rim.
        descent: how far ahead of the pads the arm is sent on the way down, in metres; a fast one is pushed aside.
        symmetry: number of the target's yaws per full turn that look the same; 0 for a target that is not turned.
    """

    lost = 0.02
    gain = 0.6

    def __init__(
        self,
        target: Body,
        top: float = 0.0,
        rim: float = 0.0,
        fine: float = 0.001,
        stray: float = 0.002,
        descent: float = _DESCENT,
        symmetry: int = 0,
    ):
        self._height, self.mass = target.grasp_height, target.mass
        self._top, self._rim, self._symmetry = top, rim, symmetry
        self._fine, self._stray, self._descent = fine, stray, descent

    def point(self, now: Situation) -> np.ndarray:
        """Return the middle of the target's lower end."""
        return now.target_pose[:3]

    def clear_height(self, now: Situation) -> float:
        """Return a height at which the target stays well clear of the rim."""
        return max(_LOW_CARRY, float(now.goal_pose[2]) + self._rim + self._height + 0.04)

    def release_height(self, now: Situation) -> float:
        """Return where the pads are when the target stands; before it is aligned, where it hovers above the rim."""
        below_pads = float(now.tcp[2] - now.target_pose[2])
        above = float(now.target_pose[2] - now.goal_pose[2])
        origin = float(now.goal_pose[2]) + below_pads
        if above < self._rim - _INSIDE or self._is_aligned(now, above):
            return max(origin + self._top, float(now.tcp[2]) - self._descent)
        return origin + self._rim + _GUARD

    def aside(self, now: Situation, gap: np.ndarray, lifted: float, reach: float) -> np.ndarray:
        """Return how much of a horizontal gap the setpoint asks for: the more, the higher the target was lifted."""
        distance = float(np.linalg.norm(gap))
        share = float(np.clip((lifted - _LIFTED) / _LIFTED, 0.0, 1.0))
        return gap * share * min(1.0, reach / (self.gain * distance + 1e-9))

    def is_down(self, now: Situation) -> bool:
        """Return whether the target stands, almost."""
        return bool(now.target_pose[2] - now.goal_pose[2] - self._top < _STANDS)

    def yaw(self, now: Situation, yaw: float) -> float:
        """Return the gripper's yaw at which the target lies as its goal does."""
        if not self._symmetry:
            return 0.0
        turned = yaw + yaw_error(now, self._symmetry)
        if abs(turned) > _FAR_TURN:  # the wrist would come near its end: the other way round looks the same
            turned -= math.copysign(2 * math.pi / self._symmetry, turned)
        return turned

    def _is_aligned(self, now: Situation, above: float) -> bool:
        # On the way down from the guard's height it may stray a little.
        fine = self._fine if above > self._rim + 0.8 * _GUARD else self._stray
        turned = not self._symmetry or abs(yaw_error(now, self._symmetry)) < _FINE_TURN
        return self.off(now) < fine and turned


class Cube(OnSpot):
    """A cube, of which every face can be the upper one, is set down on its goal to the millimetre."""

    def __init__(self, target: Body, top: float = 0.0, rim: float = 0.0):
        super().__init__(target, top, rim, symmetry=4)

    def seen(self, now: Situation) -> Situation:
        """Return the situation with the cube's upper face on top."""
        return with_face_up(now)

    def grasp_yaw(self, now: Situation, yaw: float) -> float:
        """Return the yaw of a quarter turn less where the fingers would come down on the goal beside the cube."""
        away = (now.target_pose - now.goal_pose)[:2]
        distance = float(np.linalg.norm(away))
        if not self._rim or now.target_pose[2] > _LIFTED or not 0.02 < distance < _BESIDE:
            return yaw
        closing = np.array([math.sin(yaw), -math.cos(yaw)])
        across = abs(float(closing @ away)) / distance < math.sqrt(0.5)
        return yaw if across else yaw - math.copysign(math.pi / 2, yaw)


class Carefully(OnSpot):
    """The target is set down on its goal at a pace at which a full tray does not spill."""

    pace = 0.4
    lower_pace = 0.4


def goal_of(scene: Scene) -> Goal:
    """Return how a scene's target is set down.

    Raises:
        TypeError: nothing is known of such scenes.
    """
    if isinstance(scene, ContainerScene):
        return InContainer(scene)
    if isinstance(scene, PlaceScene):
        return Cube(scene.target)
    if isinstance(scene, StackScene):
        return Cube(scene.target, top=BASE_HEIGHT, rim=BASE_HEIGHT)
    if isinstance(scene, InsertScene):
        room = scene.level / 1000
        descent = min(_DESCENT, 4 * room)
        return OnSpot(scene.target, rim=BOARD_HEIGHT, fine=room / 4, stray=room / 2, descent=descent)
    if isinstance(scene, ThreadScene):
        room = scene.level / 1000
        return OnSpot(scene.target, rim=POST_HEIGHT, fine=room / 4, stray=room / 2)
    if isinstance(scene, CarryScene):
        return Carefully(scene.target, fine=0.004, stray=0.01)
    raise TypeError(f"no expert knows how to set down the target of a {type(scene).__name__}")
