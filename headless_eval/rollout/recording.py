"""Recording of the observations that a policy meets in episodes."""

import hashlib
from typing import Any, NamedTuple

import numpy as np

from headless_eval.local_policy import LocalPolicy


class RecordedObservation(NamedTuple):
    """An observation and the noise that its action chunk started from; None for policies that take none."""

    observation: dict[str, Any]
    noise: np.ndarray | None


class RecordingPolicy:
    """A policy, as far as the loop is concerned, that keeps what it is asked.

    Args:
        policy: the one that replies.

    Attributes:
        seen: what it was asked, by a hash of it.
    """

    def __init__(self, policy: LocalPolicy) -> None:
        self._policy = policy
        self.seen: dict[bytes, RecordedObservation] = {}

    def infer_batch(
        self, observations: list[dict[str, Any]], noise: np.ndarray | None, *more: Any
    ) -> list[dict[str, Any]]:
        """Keep copies of what the policy is asked, and ask it."""
        for index, observation in enumerate(observations):
            kept = {
                name: value.copy() if isinstance(value, np.ndarray) else value
                for name, value in observation.items()
            }
            own = None if noise is None else np.array(noise[index], np.float32)
            self.seen[_hash(kept, own)] = RecordedObservation(kept, own)
        return self._policy.infer_batch(observations, noise, *more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)


def _hash(observation: dict[str, Any], noise: np.ndarray | None) -> bytes:
    digest = hashlib.sha256()
    for name, value in sorted(observation.items()):
        digest.update(name.encode())
        digest.update(value.tobytes() if isinstance(value, np.ndarray) else str(value).encode())
    if noise is not None:
        digest.update(noise.tobytes())
    return digest.digest()
