"""Family ``press``: of four buttons, press the one whose colour the instruction names; the level is their width."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from headless_eval.sims.droid.bodies import Body, Rgb, Shape
from headless_eval.sims.droid.placement import Placed, Region, draw_joints
from headless_eval.sims.droid.precise.family import GradedScene
from headless_eval.sims.droid.precise.language import COLOURS, PRESS
from headless_eval.sims.droid.tabletop import PAD_REACH, InitialState, Situation

TOP = 0.030  # metres, of a button above the table
NEAR = 0.004  # metres from the tips to the button's top, so that it counts as pressed
CLOSED = 0.9  # of the gripper: nothing is between the pads
PRESSED_STEPS = 2  # control steps

_RGB: dict[str, Rgb] = {
    "red": (0.85, 0.1, 0.08),
    "green": (0.1, 0.6, 0.15),
    "blue": (0.1, 0.22, 0.8),
    "yellow": (0.95, 0.82, 0.1),
}
_PLATE, _PLATE_HEIGHT, _PLATE_RGB = 0.022, 0.012, (0.2, 0.2, 0.22)  # metres: half the side, the height
_GRID = ((-0.055, -0.055), (-0.055, 0.055), (0.055, -0.055), (0.055, 0.055))  # metres, about the middle
_JITTER = 0.014  # metres


def button(colour: str, diameter: float) -> Body:
    """Return a button of a diameter (metres) on its plate; it cannot be moved."""
    half_plate, half_cap = _PLATE_HEIGHT / 2, (TOP - _PLATE_HEIGHT) / 2
    shapes = (
        Shape("box", (_PLATE, _PLATE, half_plate), _PLATE_RGB, (0, 0, half_plate)),
        Shape("cylinder", (diameter / 2, half_cap), _RGB[colour], (0, 0, _PLATE_HEIGHT + half_cap)),
    )
    return Body(f"{colour}_button", shapes, mass=0.1, footprint=1.42 * _PLATE, fixed=True)


class PressScene(GradedScene):
    """The named one of four buttons, which lie in a drawn order; the level is their diameter in millimetres."""

    family = "press"
    says = "press the button of the named colour"
    levels = (40.0, 28.0, 20.0, 14.0, 10.0, 5.0, 3.0)
    taught = (40.0, 28.0, 20.0, 14.0, 10.0)
    default = 5.0
    region = Region((0.43, 0.53), (-0.13, 0.13))

    @cached_property
    def bodies(self) -> tuple[Body, ...]:  # type: ignore[override]
        """Return the buttons, in the order of ``COLOURS``."""
        return tuple(button(colour, self.level / 1000) for colour in COLOURS)

    def draw(self, generator: np.random.Generator, margin: float = 0.0) -> InitialState:
        """Draw the arm, where the buttons lie, and which of them is named."""
        joints = draw_joints(generator)
        region = self.region.grown(margin)
        middle = np.array([generator.uniform(*region.x), generator.uniform(*region.y)])
        spots = middle + np.array(_GRID)[generator.permutation(len(_GRID))]
        spots += generator.uniform(-_JITTER, _JITTER, spots.shape)
        placed = [
            Placed(body, float(x), float(y), 0.0) for body, (x, y) in zip(self.bodies, spots, strict=True)
        ]
        choice = int(generator.integers(len(COLOURS)))
        return InitialState(joints, np.array([one.pose for one in placed]), choice)

    def instruction_of(self, initial: InitialState) -> str:
        """Return which button is to be pressed."""
        assert initial.choice is not None
        return PRESS[COLOURS[initial.choice]].instruction

    def tracker(self, initial: InitialState) -> "PressTracker":
        """Return what follows an episode."""
        assert initial.choice is not None
        return PressTracker(initial.choice, self.level / 2000)


class PressTracker:
    """The named button is the first that is pressed.

    A button is *pressed* when the pads are closed, their midpoint's tips (24 mm below it, as the gripper points down)
    are within the button's radius, seen from above, and at most 4 mm above its top, for two control steps in a row.
    Pressing another one ends the episode.

    Args:
        choice: number of the named button.
        radius: of the buttons, in metres.
    """

    def __init__(self, choice: int, radius: float):
        self._choice, self._radius = choice, radius
        self._held = np.zeros(len(COLOURS), int)
        self._now: Situation | None = None
        self.pressed: int | None = None

    def update(self, now: Situation) -> bool:
        """Take the situation after a control step; return whether the task is solved."""
        self._now = now
        if self.pressed is None:
            self._held = np.where(self._is_pressed(now), self._held + 1, 0)
            if self._held.max() >= PRESSED_STEPS:
                self.pressed = int(self._held.argmax())
        return self.pressed == self._choice

    @property
    def over(self) -> bool:
        """Return whether another button was pressed."""
        return self.pressed is not None and self.pressed != self._choice

    def is_there(self, now: Situation) -> bool:
        """Return whether the named button is pressed."""
        return bool(self._is_pressed(now)[self._choice])

    def measures(self) -> Mapping[str, float]:
        """Return how far the tips are from the middle of the named button's top, in millimetres."""
        if self._now is None:
            return {}
        return {"final_error_mm": 1000 * float(self.distances(self._now.poses[None], self._now.tcp[None])[0])}

    def distances(self, poses: np.ndarray, tcp: np.ndarray) -> np.ndarray:
        """Return how far the tips are from the middle of the named button's top, in metres, (steps,)."""
        distances: np.ndarray = np.linalg.norm(_off(poses[:, self._choice], tcp), axis=1)
        return distances

    def blame(self) -> str | None:
        """Return ``wrong_object`` if another button was pressed."""
        return "wrong_object" if self.over else None

    def _is_pressed(self, now: Situation) -> np.ndarray:
        off = _off(now.poses, now.tcp)
        near = (np.hypot(off[:, 0], off[:, 1]) <= self._radius) & (off[:, 2] <= NEAR)
        pressed: np.ndarray = near & (now.gripper_position >= CLOSED)
        return pressed


def _off(poses: np.ndarray, tcp: np.ndarray) -> np.ndarray:
    """Return where the tips are from the tops of buttons with these poses (N, 7), (N, 3)."""
    tips = tcp - np.array([0.0, 0.0, PAD_REACH])
    off: np.ndarray = tips - (poses[:, :3] + np.array([0.0, 0.0, TOP]))
    return off
