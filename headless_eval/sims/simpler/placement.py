"""What an episode starts from: objects, robot, photograph. NumPy only.

The four WidowX tasks and ``move_near`` are grids that the episode's index runs through; the others are drawn. A draw is
SimplerEnv's own: the same seed gives the same episode there (checked against it in ``tests/sims/simpler``).
"""

import math
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np

Quaternion = tuple[float, float, float, float]  # w, x, y, z

COLOURINGS = (
    "",
    "recolor_tabletop_visual_matching_1",
    "recolor_tabletop_visual_matching_2",
    "recolor_cabinet_visual_matching_1",
)
"""Of Google's robot, as its description files are named."""

DRAWERS = ("top", "middle", "bottom")
SWITCH_AFTER = 100
"""Steps after which the apple task goes on from opening the drawer to placing the apple."""


@dataclass(frozen=True)
class Placed:
    """An object and where it is let fall: metres, and a rotation as a quaternion (w, x, y, z)."""

    model: str
    xy: tuple[float, float]
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0)
    density: float | None = None  # kg/m³; None: the model's own


@dataclass(frozen=True)
class Start:
    """Where an episode starts.

    Args:
        instruction: at first.
        overlay: name of the photograph.
        robot_xy: of the robot's base, in metres.
        robot_turn: about z beyond facing -x, in radians.
        objects: those that an instruction may name; ``source`` and ``target`` count among them.
        source: which object is to be moved.
        target: where to.
        colouring: of Google's robot.
        drawer: which is to be moved, if any.
        open_at: where that drawer stands at first, in metres.
        next_instruction: what replaces the instruction after ``SWITCH_AFTER`` steps; "" for nothing.
    """

    instruction: str
    overlay: str
    robot_xy: tuple[float, float]
    robot_turn: float = 0.0
    objects: tuple[Placed, ...] = field(default=())
    source: int = 0
    target: int = 1
    colouring: str = ""
    drawer: str = ""
    open_at: float = 0.0
    next_instruction: str = ""

    @property
    def robot_rotation(self) -> Quaternion:
        """Return the orientation of the robot's base."""
        return (-math.sin(self.robot_turn / 2), 0.0, 0.0, math.cos(self.robot_turn / 2))

    @property
    def numbers(self) -> np.ndarray:
        """Return all of it as one vector; a text counts as the numbers of its bytes."""
        placed = [number for one in self.objects for number in (*one.xy, *one.rotation)]
        models = [one.model for one in self.objects]
        texts = "\n".join([self.instruction, self.overlay, *models, self.colouring, self.drawer]).encode()
        roles = (self.robot_turn, self.source, self.target, self.open_at)
        return np.array([*self.robot_xy, *roles, *placed, *texts])


def start_of(task: str, episode: int, seed: int) -> Start:
    """Return what an episode starts from.

    Args:
        task: its name, such as ``widowx_stack_cube``.
        episode: its index, for the tasks that are a grid.
        seed: below 2**32, for what is drawn.

    Raises:
        KeyError: the task does not exist.
    """
    if task in _BRIDGE:
        return _BRIDGE[task](episode)
    return _GOOGLE[task](episode, seed)


def spoken(model: str) -> str:
    """Return a model's name as an instruction says it."""
    dropped = {"opened", "light", "generated", "modified", "objaverse", "bridge", "baked", "v2"}
    return " ".join(
        word
        for word in model.split("_")
        if word not in dropped and not (word[:1].isdigit() and word.endswith("cm"))
    )


def chained_seeds(count: int) -> list[int]:
    """Return the first seeds of SimplerEnv's environments where a caller gives none, as open-pi-zero does."""
    seeds = [40194941]
    while len(seeds) < count:
        seeds.append(int(np.random.RandomState(seeds[-1]).randint(2**32, dtype=np.uint32)))
    return seeds[:count]


def _about_z(angle: float) -> Quaternion:
    return (math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2))


def _about_x(angle: float) -> Quaternion:
    return (math.cos(angle / 2), math.sin(angle / 2), 0.0, 0.0)


def _then(first: Quaternion, second: Quaternion) -> Quaternion:
    """Return the rotation ``first`` followed by ``second``."""
    w, x, y, z = second
    a, b, c, d = first
    return (
        w * a - x * b - y * c - z * d,
        w * b + x * a + y * d - z * c,
        w * c - x * d + y * a + z * b,
        w * d + x * c - y * b + z * a,
    )


# --- WidowX ---------------------------------------------------------------------------------------------------------

_CENTRE = (-0.16, 0.0)


def _pairs(half: float) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return ordered pairs of different corners of a square, the source in the outer loop."""
    corners = [
        (_CENTRE[0] + x * half, _CENTRE[1] + y * half) for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1))
    ]
    return list(permutations(corners, 2))


def _table(instruction: str, source: Placed, target: Placed) -> Start:
    return Start(instruction, "bridge_real_eval_1", (0.147, 0.028), objects=(source, target))


def _carrot(episode: int) -> Start:
    source, target = _pairs(0.075)[episode % 24 // 2]
    turn = (math.pi, -math.pi / 2)[episode % 2]
    return _table(
        "put carrot on plate",
        Placed("bridge_carrot_generated_modified", source, _about_z(turn)),
        Placed("bridge_plate_objaverse_larger", target),
    )


def _spoon(episode: int) -> Start:
    source, target = _pairs(0.075)[episode % 24 // 2]
    turn = (0.0, math.pi / 2)[episode % 2]
    return _table(
        "put the spoon on the towel",
        Placed("bridge_spoon_generated_modified", source, _about_z(turn)),
        Placed("table_cloth_generated_shorter", target),
    )


def _stack(episode: int) -> Start:
    source, target = [*_pairs(0.05), *_pairs(0.1)][episode % 24]
    return _table(
        "stack the green block on the yellow block",
        Placed("baked_green_cube_3cm", source),
        Placed("baked_yellow_cube_3cm", target),
    )


def _eggplant(episode: int) -> Start:
    places = [(x, float(y)) for x in (-0.115, -0.095) for y in np.linspace(0.191, 0.221, 4)]
    turn = (0.0, math.pi / 4, -math.pi / 4)[episode % 3]
    return Start(
        "put eggplant into yellow basket",
        "bridge_sink",
        (0.127, 0.06),
        objects=(
            Placed("eggplant", places[episode % 24 // 3], _about_z(turn)),
            Placed("dummy_sink_target_plane", (-0.125, 0.025)),
        ),
    )


_BRIDGE = {
    "widowx_carrot_on_plate": _carrot,
    "widowx_spoon_on_towel": _spoon,
    "widowx_stack_cube": _stack,
    "widowx_put_eggplant_in_basket": _eggplant,
}

# --- Google's robot -------------------------------------------------------------------------------------------------

_BOTTLE, _PEPSI, _ORANGE = "blue_plastic_bottle", "baked_opened_pepsi_can", "orange"
_SEVEN_UP, _APPLE, _SPONGE = "baked_opened_7up_can", "baked_apple", "baked_sponge"
_COKE, _REDBULL = "baked_opened_coke_can", "baked_opened_redbull_can"
_TRIPLETS = (
    (_BOTTLE, _PEPSI, _ORANGE),
    (_SEVEN_UP, _APPLE, _SPONGE),
    (_COKE, _REDBULL, _APPLE),
    (_SPONGE, _BOTTLE, _SEVEN_UP),
    (_ORANGE, _PEPSI, _REDBULL),
)
_UPRIGHT = _about_x(math.pi / 2)
_ROTATIONS = {
    **dict.fromkeys((_PEPSI, _SEVEN_UP, _COKE, _REDBULL), _UPRIGHT),
    _BOTTLE: _then(_UPRIGHT, _about_z(math.pi / 2)),
    **dict.fromkeys((_ORANGE, _SPONGE), _about_z(math.pi / 2)),
    _APPLE: (1.0, 0.0, 0.0, 0.0),
}
_NEAR_PLACES = (
    ((-0.33, 0.04), (-0.33, 0.34), (-0.13, 0.19)),
    ((-0.13, 0.04), (-0.33, 0.19), (-0.13, 0.34)),
)
_FRUIT_DENSITY = 200.0

# Of the nine places of the robot in front of the cabinet: x, y, rotation about z.
STANDS = {
    "a0": (0.644, -0.179, -0.03),
    "a1": (0.765, -0.182, -0.02),
    "a2": (0.889, -0.203, -0.06),
    "b0": (0.652, 0.009, 0.0),
    "b1": (0.752, 0.009, 0.0),
    "b2": (0.851, 0.035, 0.0),
    "c0": (0.665, 0.224, 0.0),
    "c1": (0.765, 0.222, -0.025),
    "c2": (0.865, 0.222, -0.025),
}
"""Of the nine places of Google's robot in front of the cabinet: x, y in metres, rotation about z in radians."""


def _coke(rotation: Quaternion, seed: int) -> Start:
    # Each draw of the original begins anew with the episode's seed.
    draw = np.random.RandomState(seed)
    xy = (draw.uniform(-0.35, -0.12), draw.uniform(-0.02, 0.42))
    return Start(
        "pick coke can",
        "google_coke_can_real_eval_1",
        (0.35, 0.20),
        objects=(Placed("opened_coke_can", xy, rotation),),
        colouring=str(np.random.RandomState(seed).choice(COLOURINGS)),
    )


def _near(episode: int, seed: int) -> Start:
    triplet = _TRIPLETS[episode % 60 // 12]
    places = _NEAR_PLACES[episode % 12 // 6]
    source, target = list(permutations(range(3), 2))[episode % 6]
    return Start(
        f"move {spoken(triplet[source])} near {spoken(triplet[target])}",
        "google_move_near_real_eval_1",
        (0.35, 0.21),
        -0.09,
        tuple(
            Placed(model, place, _ROTATIONS[model], _FRUIT_DENSITY if model in (_APPLE, _ORANGE) else None)
            for model, place in zip(triplet, places, strict=True)
        ),
        source,
        target,
        colouring=str(np.random.RandomState(seed).choice(COLOURINGS)),
    )


def _drawer(verb: str, seed: int) -> Start:
    draw = np.random.RandomState(seed)
    drawer = str(draw.choice(DRAWERS))
    stand = str(draw.choice(list(STANDS)))
    x, y, turn = STANDS[stand]
    return Start(
        f"{verb} {drawer} drawer",
        f"open_drawer_{stand}",
        (x, y),
        turn,
        colouring=str(draw.choice(COLOURINGS)),
        drawer=drawer,
        open_at=0.2 if verb == "close" else 0.0,
    )


def _apple(seed: int) -> Start:
    draw = np.random.RandomState(seed)
    stand = str(draw.choice(["a0", "b0", "c0"]))
    colouring = str(draw.choice(COLOURINGS))
    x, y, turn = STANDS[stand]
    draw = np.random.RandomState(seed)
    xy = (draw.uniform(-0.10, -0.05), draw.uniform(0.0, 0.1))
    return Start(
        "open top drawer",
        f"open_drawer_{stand}",
        (x, y),
        turn,
        objects=(Placed("baked_apple_v2", xy),),
        colouring=colouring,
        drawer="top",
        next_instruction="place apple into top drawer",
    )


_GOOGLE = {
    "google_robot_pick_horizontal_coke_can": lambda episode, seed: _coke(_about_z(math.pi), seed),
    "google_robot_pick_vertical_coke_can": lambda episode, seed: _coke(_about_z(math.pi / 2), seed),
    "google_robot_pick_standing_coke_can": lambda episode, seed: _coke(_UPRIGHT, seed),
    "google_robot_move_near_v0": _near,
    "google_robot_open_drawer": lambda episode, seed: _drawer("open", seed),
    "google_robot_close_drawer": lambda episode, seed: _drawer("close", seed),
    "google_robot_place_apple_in_closed_top_drawer": lambda episode, seed: _apple(seed),
}
