"""Disturbance of a scripted expert's actions, so that its demonstrations show how to recover."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bursts:
    """Bursts of a constant offset to an action, over a little jitter.

    Attributes:
        axes: how many numbers of an action, from the first on, are disturbed.
        start: probability that a burst begins, at each control step outside bursts.
        steps: least and most control steps of a burst.
        std: standard deviation of a burst's offset, in the action's unit.
        jitter_std: standard deviation of the jitter, in the action's unit; each episode draws its own up to this.
        drops: probability that a burst also opens the gripper, which is the action's last number.
        clean: share of the episodes without any disturbance.
    """

    axes: int
    start: float
    steps: tuple[int, int]
    std: float
    jitter_std: float
    drops: float = 0.0
    clean: float = 0.2


class Disturbance:
    """The disturbance of one episode: bursts and jitter, drawn as its actions come."""

    def __init__(self, bursts: Bursts, generator: np.random.Generator):
        self._bursts, self._generator = bursts, generator
        self._active = generator.random() >= bursts.clean
        self._jitter = bursts.jitter_std * generator.random() if self._active else 0.0
        self._left = 0
        self._offset = np.zeros(bursts.axes)
        self._drops = False

    def apply(self, action: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return the action to execute, and whether it is the expert's own apart from jitter."""
        bursts, generator, executed = self._bursts, self._generator, action.copy()
        if not self._active:
            return executed, True
        if self._left == 0 and generator.random() < bursts.start:
            self._left = int(generator.integers(*bursts.steps, endpoint=True))
            self._offset = generator.normal(0.0, bursts.std, bursts.axes)
            self._drops = bursts.drops > 0 and generator.random() < bursts.drops
        executed[: bursts.axes] += generator.normal(0.0, self._jitter, bursts.axes) if self._jitter else 0.0
        if self._left == 0:
            return executed, True
        self._left -= 1
        executed[: bursts.axes] += self._offset
        if self._drops:
            executed[-1] = 0.0
        return executed, False
