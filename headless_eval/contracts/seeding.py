"""Seeds of trials: the source of all random numbers.

All streams of a trial derive from ``SeedSequence([seed, task, episode])``. The precision is not part of the seed, so
all configurations run the same episodes and can be compared in pairs.
"""

from dataclasses import dataclass

import numpy as np

# Another number would give other episodes than those of all earlier runs.
_INITIAL_STATE, _FLOW_NOISE, _ENVIRONMENT, _POLICY, _PERTURBATION = 0, 2, 3, 4, 5


@dataclass(frozen=True)
class TrialSeed:
    """The seed of one trial: the run's seed, the task's id and the episode's index."""

    seed: int
    task: int
    episode: int

    def _sequence(self, *stream: int) -> np.random.SeedSequence:
        return np.random.SeedSequence([self.seed, self.task, self.episode], spawn_key=stream)

    def initial_state(self) -> np.random.Generator:
        """Return the generator that places the objects and the robot."""
        return np.random.default_rng(self._sequence(_INITIAL_STATE))

    def flow_noise(self, replan: int, shape: tuple[int, ...]) -> np.ndarray:
        """Draw the standard-normal noise that flow matching starts from.

        Args:
            replan: number of earlier action chunks of the episode.
            shape: (horizon, action_dim) of the model.

        Returns:
            float32 array of that shape, drawn on the CPU whatever the policy's device.
        """
        generator = np.random.default_rng(self._sequence(_FLOW_NOISE, replan))
        return generator.standard_normal(shape, dtype=np.float32)

    def perturbation(self, *stream: int) -> np.random.Generator:
        """Return the generator of what perturbs the episode; each ``stream`` of numbers has one of its own."""
        return np.random.default_rng(self._sequence(_PERTURBATION, *stream))

    def environment_seed(self) -> int:
        """Return a 32-bit seed for simulators that take an integer."""
        return int(self._sequence(_ENVIRONMENT).generate_state(1)[0])

    def policy_seed(self) -> int:
        """Return a 32-bit seed for policies that draw from random generators of their own."""
        return int(self._sequence(_POLICY).generate_state(1)[0])
