"""Perturbations: the axes that an episode is changed along, their levels in numbers, and the tasks that result.

An axis has levels from 0, nothing at all, to 5. A level gives each of the axis's quantities a size; what a size leaves
open, such as the direction in which a camera is moved, is drawn from the trial's seed (docs/perturbations.md).
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import Task
from headless_eval.errors import UserError
from headless_eval.shared.suggest import unknown

LEVELS = 5
AROUND = ("language", "noise")
"""The axes that change what a policy is told and shown, whatever the simulator, which need not know them."""
Paraphrases = Mapping[str, Sequence[Sequence[str]]]
"""Five lists of paraphrases, from level 1 to 5, by instruction."""
ALL = "all"
"""The name that stands for every axis of a suite."""

Perturbation = tuple[tuple[str, float], ...]
"""What an episode is changed by, in the order of ``AXES``: ``("light", 2)`` is a level, ``("light.dim", 0.6)`` the size
of one quantity. Levels and sizes that change nothing are left out."""


@dataclass(frozen=True)
class Quantity:
    """A quantity of an axis.

    Args:
        name: name on the command line and in tables.
        unit: its unit; ``""`` for a number.
        meaning: what is changed by it, and what of it is drawn.
        levels: its size at the levels 1 to 5; empty if it can only be fixed.
        neutral: the size that changes nothing.
        most: the largest size that can be asked for.
        whole: whether the size is a whole number.
    """

    name: str
    unit: str
    meaning: str
    levels: tuple[float, ...] = ()
    neutral: float = 0.0
    most: float = 1.0
    whole: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis of perturbation.

    Args:
        name: name on the command line.
        stream: number of the stream of random numbers that it is drawn from; a number of its own, for ever.
        summary: what it changes.
        quantities: its quantities.
    """

    name: str
    stream: int
    summary: str
    quantities: tuple[Quantity, ...]

    def sizes(self, perturbation: Perturbation) -> dict[str, float]:
        """Return the size of each quantity under a perturbation, the neutral ones included."""
        level = int(dict(perturbation).get(self.name, 0))
        sizes = {
            one.name: one.levels[level - 1] if level and one.levels else one.neutral
            for one in self.quantities
        }
        fixed = {name.partition(".")[2]: size for name, size in perturbation if axis_of(name) == self.name}
        return sizes | {name: size for name, size in fixed.items() if name}

    def generator(self, seed: TrialSeed) -> np.random.Generator:
        """Return the axis's own generator of an episode."""
        return seed.perturbation(self.stream)

    def quantity(self, name: str) -> Quantity:
        """Return a quantity of the axis.

        Raises:
            UserError: it has no such quantity.
        """
        found = {one.name: one for one in self.quantities}
        if name not in found:
            raise unknown(f"quantity of the axis {self.name}", name, found)
        return found[name]


AXES: dict[str, Axis] = {
    axis.name: axis
    for axis in (
        Axis(
            "camera",
            0,
            "Both cameras stand elsewhere and look elsewhere.",
            (
                Quantity("exterior", "cm", "exterior camera moved, direction drawn", (1, 2, 4, 7, 12), most=50),
                Quantity("turn", "degrees", "exterior camera turned, axis drawn", (1, 2, 3, 5, 8), most=45),
                Quantity("wrist", "cm", "wrist camera moved, direction drawn", (0.2, 0.4, 0.7, 1, 1.5), most=5),
                Quantity("wrist_turn", "degrees", "wrist camera turned, axis drawn", (0.5, 1, 2, 3, 5), most=45),
            ),
        ),
        Axis(
            "light",
            1,
            "Pictures are brighter or dimmer, warmer or colder, as if all light were; the lamp shines from elsewhere.",
            (
                Quantity(
                    "brightness",
                    "%",
                    "all light dimmed or brightened by this, which of them is drawn",
                    (15, 28, 40, 55, 70),
                    most=100,
                ),
                Quantity(
                    "colour",
                    "%",
                    "red up and blue down by this or the reverse, drawn",
                    (3, 6, 10, 15, 20),
                    most=100,
                ),
                Quantity(
                    "turn", "degrees", "the lamp's direction turned, axis drawn", (5, 10, 20, 30, 40), most=80
                ),
                Quantity("dim", "factor", "all light times this, exactly", neutral=1.0, most=3),
            ),
        ),
        Axis(
            "texture",
            2,
            "Table, floor and background have other colours, walls hide the sky; from level 3 the table has a pattern.",
            (
                Quantity("table", "%", "share of a drawn colour in the table's", (5, 10, 20, 40, 100), most=100),
                Quantity(
                    "background", "%", "share of drawn colours in floor and walls", (10, 20, 40, 70, 100), most=100
                ),
                Quantity(
                    "pattern", "%", "contrast of the table's pattern, kind drawn", (0, 0, 15, 30, 60), most=100
                ),
            ),
        ),
        Axis(
            "objects",
            3,
            "Each body has another colour.",
            (Quantity("colour", "%", "share of a drawn colour in all of a body's", (5, 10, 20, 40, 80), most=100),),
        ),
        Axis(
            "distractors",
            4,
            "Further bodies of unknown shapes and colours lie on the table; they can be in the way.",
            (
                Quantity(
                    "bodies",
                    "",
                    "number of further bodies, as far as there is room",
                    (1, 2, 3, 4, 6),
                    most=6,
                    whole=True,
                ),
            ),
        ),
        Axis(
            "pose",
            5,
            "Bodies start in larger regions, and the arm starts elsewhere.",
            (
                Quantity("region", "cm", "each side of the start regions moved out", (1, 2, 4, 6, 8), most=10),
                Quantity(
                    "joints", "rad", "each joint off its start by up to this", (0.02, 0.04, 0.07, 0.11, 0.16), most=0.5
                ),
            ),
        ),
        Axis(
            "language",
            6,
            "The instruction is said in other words, one of the level's paraphrases; which is drawn.",
            (Quantity("paraphrase", "", "the list of paraphrases", (1, 2, 3, 4, 5), most=5, whole=True),),
        ),
        Axis(
            "noise",
            7,
            "What the policy is shown is noisy: pictures and joint readings; the world is as ever.",
            (
                Quantity("pixels", "of 255", "standard deviation of noise on each pixel", (2, 4, 8, 14, 24), most=255),
                Quantity("blur", "pixels", "standard deviation of a Gaussian blur", (0.3, 0.5, 0.8, 1.2, 2), most=20),
                Quantity("jpeg", "%", "loss of JPEG compression: 100 less the quality", (10, 25, 45, 65, 85), most=99),
                Quantity(
                    "joints",
                    "rad",
                    "standard deviation of noise on each joint reading",
                    (0.001, 0.002, 0.004, 0.008, 0.015),
                    most=1,
                ),
            ),
        ),
    )
}  # fmt: skip
"""All axes, by name."""

WORLD = tuple(axis for axis in AXES if axis not in AROUND)
"""The axes that change the world, which a simulator has to apply."""


def parse(texts: Iterable[str], axes: Sequence[str]) -> Perturbation:
    """Return the perturbation that texts mean together.

    Args:
        texts: of ``--perturb``: ``light=2``, ``all=1``, ``camera.wrist=1`` (a size), ``light=x0.6`` for
            ``light.dim=0.6``.
        axes: the names of the axes that the suite's simulator knows, and of quantities of others that it knows.

    Raises:
        UserError: a text is no axis with a level or a size, or names an axis that is unknown or was named before.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{text!r}: write AXIS=LEVEL, such as light=2")
        for setting, size in _settings(name, value, axes):
            beside = [one for one in found if axis_of(one) == axis_of(setting)]
            # A level gives all of its axis's quantities a size, so it stands alone.
            has_level = any("." not in one for one in (setting, *beside))
            if setting in found or (beside and has_level):
                raise UserError(f"the axis {axis_of(setting)} is given twice; give each once")
            found[setting] = size
    return _ordered(found)


def parse_sweep(texts: Iterable[str], axes: Sequence[str]) -> list[Perturbation]:
    """Return the conditions of a sweep, one axis at a time: nothing, then each setting of each axis.

    Args:
        texts: of ``--sweep``: ``light`` (every level), ``light=1,3``, ``all=2``, ``light.dim=0.8,0.6``.
        axes: the names of the axes that the suite's simulator knows, and of quantities of others that it knows.

    Raises:
        UserError: as of ``parse``.
    """
    found: dict[Perturbation, None] = {(): None}
    for text in texts:
        name, equals, values = text.partition("=")
        for value in values.split(",") if equals else map(str, range(1, LEVELS + 1)):
            for setting, size in _settings(name, value.strip(), axes):
                found[_ordered({setting: size})] = None
    return list(found)


def _settings(name: str, value: str, known: Sequence[str]) -> list[tuple[str, float]]:
    """Return the settings of ``name=value``; several for ``all``."""
    if name == "light" and value.startswith("x"):
        return _settings("light.dim", value[1:], known)
    axis, dot, quantity = name.partition(".")
    if axis not in (ALL, *AXES) or (axis == ALL and dot):
        raise unknown("axis", axis, [*known, ALL])
    if dot:
        AXES[axis].quantity(quantity)
    if axis != ALL and not {axis, name} & set(known):
        raise UserError(f"{name} is not for this simulator, which has {', '.join(known) or 'none'}")
    if dot:
        return [(f"{axis}.{quantity}", _size(AXES[axis].quantity(quantity), f"{name}={value}", value))]
    if not re.fullmatch(r"\d", value) or int(value) > LEVELS:
        one = next(iter(AXES[axis if axis != ALL else "light"].quantities))
        raise UserError(
            f"{name}={value}: give a level from 0 to {LEVELS}, or a size such as "
            f"{axis if axis != ALL else 'light'}.{one.name}={one.levels[0]:g}"
        )
    return [(one, int(value)) for one in (known if axis == ALL else [axis]) if one in AXES]


def _size(quantity: Quantity, text: str, value: str) -> float:
    try:
        size = float(value)
    except ValueError:
        size = -1.0
    if not 0 <= size <= quantity.most or (quantity.whole and size != round(size)):
        kind = "whole number" if quantity.whole else "number"
        raise UserError(f"{text}: the size is a {kind} from 0 to {quantity.most:g}")
    return size


def _ordered(settings: Mapping[str, float]) -> Perturbation:
    """Return settings in the order of ``AXES``, without those that change nothing."""
    order = list(AXES)
    ordered = sorted(settings.items(), key=lambda item: (order.index(axis_of(item[0])), item[0]))
    return tuple((name, size) for name, size in ordered if size != neutral(name))


def neutral(name: str) -> float:
    """Return the level or the size at which an axis or a quantity changes nothing."""
    axis, _, quantity = name.partition(".")
    return AXES[axis].quantity(quantity).neutral if quantity else 0


def axis_of(name: str) -> str:
    """Return the axis of a setting's name: ``light`` of ``light.dim``."""
    return name.partition(".")[0]


def axes_of(perturbation: Perturbation) -> list[Axis]:
    """Return the axes that a perturbation changes, in the order of ``AXES``."""
    changed = {axis_of(name) for name, _ in perturbation}
    return [axis for name, axis in AXES.items() if name in changed]


def name_of(perturbation: Perturbation) -> str:
    """Return the name of a perturbation, such as ``camera=2+light.dim=0.6``."""
    return "+".join(f"{name}={size:g}" for name, size in perturbation)


def perturbed(task: Task, perturbation: Perturbation) -> Task:
    """Return a task under a perturbation; the task itself if nothing is perturbed.

    The id is derived from the key, so that it is the same in every run.
    """
    if not perturbation:
        return task
    key = f"{task.key}@{name_of(perturbation)}"
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) % 2**30 + 2**30
    plain = task.plain_id
    name = f"{task.name} ({name_of(perturbation)})"
    return replace(task, id=number, key=key, name=name, perturbation=perturbation, seeded_as=plain)
