"""What an episode of the DROID robot's scenes is changed by: a perturbation's sizes and a trial's seed become numbers.

Nothing here depends on a simulator. Each axis draws from a stream of its own, so that an axis's numbers are the same
whatever other axes are changed, and its directions the same at each of its levels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headless_eval.sims.droid import strangers
from headless_eval.sims.droid.bodies import Body, Vec3
from headless_eval.sims.droid.decoration import pattern, walls
from headless_eval.sims.droid.look import PLAIN, Look, draw_colour, mixed
from headless_eval.sims.droid.placement import Placed, Region
from headless_eval.sims.droid.tabletop import Camera, InitialState, Scene
from headless_eval.sims.perturbation import AXES, Perturbation, axes_of

_AROUND = Region((0.28, 0.76), (-0.5, 0.5))
"""Where further bodies are put."""

Streams = Callable[[int], np.random.Generator]
"""The generator of a stream by its number, such as ``TrialSeed.perturbation``."""


@dataclass(frozen=True)
class Staging:
    """How an episode begins and looks.

    Args:
        initial: where the scene's bodies and the arm start.
        look: how it looks.
        bodies: the scene's bodies, in its order.
        recoloured: whether their colours are others than the scene's.
        strangers: further bodies on the table.
        numbers: what was drawn, by ``axis.name``, for records.
    """

    initial: InitialState
    look: Look
    bodies: tuple[Body, ...]
    recoloured: bool
    strangers: tuple[Placed, ...]
    numbers: dict[str, float]

    @property
    def is_plain(self) -> bool:
        """Return whether the scene looks as ever, with no further bodies."""
        return self.look == PLAIN and not self.recoloured and not self.strangers

    @property
    def state(self) -> np.ndarray:
        """Return the numbers that the physics starts from as one vector."""
        poses = [one.pose for one in self.strangers]
        return np.concatenate([self.initial.numbers, *poses])


def stage(
    scene: Scene, perturbation: Perturbation, initial: np.random.Generator, streams: Streams
) -> Staging:
    """Draw how an episode begins and looks.

    Args:
        scene: the plain scene.
        perturbation: of the episode's task.
        initial: the generator of the initial state; at the same one, only the axes ``pose`` and ``distractors`` change
            where things start.
        streams: the generators of the axes.
    """
    sizes = {axis.name: axis.sizes(perturbation) for axis in axes_of(perturbation)}
    draw = {name: streams(AXES[name].stream) for name in sizes}
    numbers: dict[str, float] = {}
    look, bodies = PLAIN, scene.bodies
    if "camera" in sizes:
        look = _moved_cameras(look, sizes["camera"], draw["camera"], numbers)
    if "light" in sizes:
        look = _lit(look, sizes["light"], draw["light"], numbers)
    if "texture" in sizes:
        look = _textured(look, sizes["texture"], draw["texture"], numbers)
    if "objects" in sizes:
        bodies = _recoloured(bodies, sizes["objects"]["colour"], draw["objects"], numbers)
    state = scene.draw(initial, sizes["pose"]["region"] / 100 if "pose" in sizes else 0.0)
    if "pose" in sizes:
        off = sizes["pose"]["joints"] * draw["pose"].uniform(-1, 1, len(state.joints))
        state = replace(state, joints=state.joints + off)
        _note(numbers, "pose.joint", off)
    placed: tuple[Placed, ...] = ()
    if "distractors" in sizes:
        placed = _strangers(scene, state, round(sizes["distractors"]["bodies"]), draw["distractors"])
        numbers["distractors.bodies"] = len(placed)
    return Staging(state, look, bodies, "objects" in sizes, placed, numbers)


def _moved_cameras(
    look: Look, sizes: dict[str, float], generator: np.random.Generator, numbers: dict[str, float]
) -> Look:
    moved = []
    for name, turn, camera in (
        ("exterior", "turn", look.exterior),
        ("wrist", "wrist_turn", look.wrist),
    ):
        shift = sizes[name] / 100 * _direction(generator)
        rotation = math.radians(sizes[turn]) * _direction(generator)
        moved.append(_moved(camera, shift, rotation))
        _note(numbers, f"camera.{name}_cm", 100 * shift)
        _note(numbers, f"camera.{turn}_degrees", np.degrees(rotation))
    return replace(look, exterior=moved[0], wrist=moved[1])


def _moved(camera: Camera, shift: np.ndarray, rotation: np.ndarray) -> Camera:
    """Return a camera moved by ``shift`` and turned where it stands by the rotation vector (radians)."""
    if not shift.any() and not rotation.any():
        return camera
    towards = np.subtract(camera.target, camera.pos)
    pos = np.add(camera.pos, shift)
    return replace(
        camera,
        pos=_vec(pos),
        target=_vec(pos + _rotated(towards, rotation)),
        up=_vec(_rotated(np.array(camera.up), rotation)),
    )


def _lit(
    look: Look, sizes: dict[str, float], generator: np.random.Generator, numbers: dict[str, float]
) -> Look:
    brighter, warmer = (float(sign) for sign in generator.choice((-1.0, 1.0), 2))
    angle = generator.uniform(-math.pi, math.pi)
    factor = sizes["dim"] * (1 + brighter * sizes["brightness"] / 100)
    tint = warmer * sizes["colour"] / 100
    turn = math.radians(sizes["turn"])
    direction = _rotated(
        np.array(look.light_direction), turn * np.array([math.cos(angle), math.sin(angle), 0.0])
    )
    numbers |= {
        "light.factor": factor,
        "light.red": 1 + tint,
        "light.blue": 1 - tint,
        "light.turn_degrees": float(sizes["turn"]),
        "light.turn_axis_degrees": math.degrees(angle),
    }
    light = (factor * (1 + tint), factor, factor * (1 - tint))
    return replace(look, light=light, light_direction=_vec(direction))


def _textured(
    look: Look, sizes: dict[str, float], generator: np.random.Generator, numbers: dict[str, float]
) -> Look:
    table, floor, wall = (draw_colour(generator) for _ in range(3))
    share, behind = sizes["table"] / 100, sizes["background"] / 100
    kind = int(generator.integers(3))
    drawn = generator.random(3).tolist()
    top = mixed(look.table, table, share)
    decoration = walls(wall, behind)
    contrast = sizes["pattern"] / 100
    if contrast:
        decoration = (*decoration, *pattern(kind, top, contrast, drawn))
        numbers["texture.pattern"] = kind
    _note(numbers, "texture.table", top, "rgb")
    _note(numbers, "texture.floor", floor := mixed(look.floor, floor, behind), "rgb")
    return replace(look, table=top, floor=floor, decoration=decoration)


def _recoloured(
    bodies: Sequence[Body], percent: float, generator: np.random.Generator, numbers: dict[str, float]
) -> tuple[Body, ...]:
    found = []
    for body in bodies:
        colour = draw_colour(generator)
        _note(numbers, f"objects.{body.name}", colour, "rgb")
        shapes = tuple(replace(shape, rgb=mixed(shape.rgb, colour, percent / 100)) for shape in body.shapes)
        found.append(replace(body, shapes=shapes))
    return tuple(found)


def _strangers(
    scene: Scene, state: InitialState, number: int, generator: np.random.Generator
) -> tuple[Placed, ...]:
    """Return further bodies, each where there is room; one without room is left out."""
    placed = [
        Placed(body, float(x), float(y), 0.0)
        for body, (x, y) in zip(scene.bodies, state.poses[:, :2], strict=True)
    ]
    found: list[Placed] = []
    for index in range(number):
        body = strangers.draw(f"stranger_{index}", generator)
        for _ in range(100):
            x, y = generator.uniform(*_AROUND.x), generator.uniform(*_AROUND.y)
            one = Placed(body, float(x), float(y), float(generator.uniform(-math.pi, math.pi)))
            if one.is_clear_of([*placed, *found]):
                found.append(one)
                break
    return tuple(found)


def _direction(generator: np.random.Generator) -> np.ndarray:
    """Draw a direction, (3,), uniform over the sphere."""
    vector = generator.standard_normal(3)
    return vector / np.linalg.norm(vector)


def _rotated(vector: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return a vector turned about ``rotation`` by its length in radians (Rodrigues' formula)."""
    angle = float(np.linalg.norm(rotation))
    if angle == 0:
        return vector
    axis = rotation / angle
    turned: np.ndarray = (
        vector * math.cos(angle)
        + np.cross(axis, vector) * math.sin(angle)
        + axis * (axis @ vector) * (1 - math.cos(angle))
    )
    return turned


def _vec(vector: np.ndarray) -> Vec3:
    x, y, z = (float(value) for value in vector)
    return x, y, z


def _note(numbers: dict[str, float], name: str, values: Sequence[float] | np.ndarray, ends: str = "") -> None:
    """Enter a vector's numbers under names that end with its axes, x, y and z or red, green and blue, or indices."""
    ends = ends or ("xyz" if len(values) == 3 else "1234567"[: len(values)])
    numbers |= {f"{name}_{end}": float(value) for end, value in zip(ends, values, strict=True)}
