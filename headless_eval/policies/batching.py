"""Inference in batches of one fixed size, so that no reply depends on how many observations are asked for at once."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headless_eval.errors import UserError

_log = logging.getLogger(__name__)

_CPU_BATCH, _GPU_BATCH = 4, 8

Noise = np.ndarray | None


@dataclass(frozen=True)
class Timing:
    """How long inference took: calls of the model, the observations in them, milliseconds a call."""

    calls: int
    observations: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    max_ms: float


class Batching:
    """Calls a policy in batches of one fixed size, several at a time on a CPU; arguments as of ``LocalPolicy``.

    Args:
        policy: whose ``infer`` or ``infer_batch`` is called.
        name: of the policy, for messages.
        noise_shape: of the noise it takes; None: it takes none.
        on_cpu: whether it computes there.
        max_batch: the fixed size; None: the default of the device.
        threads: how many batches are inferred at a time on a CPU.

    Attributes:
        size: of every batch; it is halved where the GPU's memory does not do for it.
        threads: how many batches are inferred at a time.
    """

    def __init__(
        self,
        policy: Any,
        name: str,
        noise_shape: tuple[int, ...] | None,
        *,
        on_cpu: bool,
        max_batch: int | None,
        threads: int,
    ) -> None:
        self._policy, self._name, self._noise_shape = policy, name, noise_shape
        if noise_shape is None or not callable(getattr(policy, "infer_batch", None)) or _prompts_vary(policy):
            max_batch = 1
        elif max_batch is None:
            max_batch = _CPU_BATCH if on_cpu else _GPU_BATCH
        self.size = max_batch
        self.threads = threads if on_cpu and noise_shape is not None else 1
        self._tried = max_batch == 1
        self._pool: ThreadPoolExecutor | None = None
        self._calls: list[tuple[float, int]] = []

    def infer(self, observations: Sequence[dict[str, Any]], noises: Sequence[Noise]) -> list[dict[str, Any]]:
        """Return a reply to each of some observations, in their order.

        Raises:
            UserError: a reply has no actions.
        """
        if not observations:
            return []
        while True:
            try:
                if not self._tried:
                    self._try(observations[0])
                return self._infer_chunks(observations, noises)
            except torch.OutOfMemoryError:
                if self.size == 1:
                    raise
                self.size //= 2
                _log.warning("%s: the GPU's memory is full; batches of %d from now on", self._name, self.size)
            # Out of the handler, whose traceback keeps the tensors of the failed attempt alive.
            torch.cuda.empty_cache()

    @property
    def timing(self) -> Timing:
        """Return how long the inferences since the last ``forget`` have taken."""
        calls = list(self._calls)
        if not calls:
            return Timing(0, 0, 0.0, 0.0, 0.0, 0.0)
        ms = np.array([milliseconds for milliseconds, _ in calls])
        p50, p95 = np.percentile(ms, (50, 95))
        observations = sum(number for _, number in calls)
        return Timing(len(ms), observations, float(ms.mean()), float(p50), float(p95), float(ms.max()))

    def forget(self) -> None:
        """Let timing start anew."""
        self._calls = []

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Leave what is inferred meanwhile out of the timing."""
        calls, self._calls = self._calls, []
        try:
            yield
        finally:
            self._calls = calls

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _infer_chunks(
        self, observations: Sequence[dict[str, Any]], noises: Sequence[Noise]
    ) -> list[dict[str, Any]]:
        replies: list[dict[str, Any]] = [{}] * len(observations)

        def infer(rows: list[int]) -> None:
            chunk = self._infer_chunk([observations[row] for row in rows], [noises[row] for row in rows])
            for row, reply in zip(rows, chunk, strict=True):
                replies[row] = reply

        chunks = self._chunks(observations)
        if self.threads > 1 and len(chunks) > 1:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(
                    self.threads, f"infer-{self._name}", initializer=torch.set_num_threads, initargs=(1,)
                )
            list(self._pool.map(infer, chunks))
        else:
            for rows in chunks:
                infer(rows)
        return replies

    def _chunks(self, observations: Sequence[dict[str, Any]]) -> list[list[int]]:
        """Return which observations are inferred together."""
        if self.size == 1:
            return [[row] for row in range(len(observations))]
        key = getattr(self._policy, "batch_key", None)
        groups: dict[Any, list[int]] = {}
        for row, obs in enumerate(observations):
            groups.setdefault(key(obs) if callable(key) else obs.get("prompt"), []).append(row)
        return [
            rows[start : start + self.size]
            for rows in groups.values()
            for start in range(0, len(rows), self.size)
        ]

    def _infer_chunk(self, observations: list[dict[str, Any]], noises: list[Noise]) -> list[dict[str, Any]]:
        if self.size == 1:
            arguments = {} if noises[0] is None else {"noise": noises[0]}
            output, ms = self._timed(lambda: self._policy.infer(observations[0], **arguments), 1)
            return [self._reply(output, ms)]
        outputs, ms = self._timed(lambda: self._full_batch(observations, noises), len(observations))
        return [self._reply(output, ms) for output in outputs]

    def _full_batch(self, observations: list[dict[str, Any]], noises: list[Noise]) -> list[Any]:
        number, fill = len(observations), self.size - len(observations)
        noise = np.stack([np.asarray(noise) for noise in noises + noises[-1:] * fill])
        with torch.inference_mode():
            return self._policy.infer_batch(observations + observations[-1:] * fill, noise=noise)[:number]

    def _try(self, obs: dict[str, Any]) -> None:
        """Infer in batches of one if here, with this policy, a row of a batch depends on its place or the rest.

        How a matrix product rounds is up to a library and a processor. Nothing promises that it treats all
        rows alike, though those in use do.
        """
        shape = (self.size, *(self._noise_shape or ()))
        noise = list(np.random.default_rng(0).standard_normal(shape, np.float32))
        others = [_negative(obs)] * (self.size - 1)
        first = self._full_batch([obs, *others], [*noise])
        last = self._full_batch([*others, obs], [*noise[1:], noise[0]])
        alone = self._full_batch([obs] * self.size, [noise[0]] * self.size)
        replies = [np.asarray(reply["actions"]).tobytes() for reply in (first[0], last[-1], *alone)]
        if len(set(replies)) > 1:
            _log.warning("%s: rows of a batch depend on each other here; inferring one by one", self._name)
            self.size = 1
        self._tried = True

    def _timed(self, call: Callable[[], Any], number: int) -> tuple[Any, float]:
        begin = time.perf_counter()
        with torch.inference_mode():
            output = call()
        ms = 1e3 * (time.perf_counter() - begin)
        self._calls.append((ms, number))
        return output, ms

    def _reply(self, output: Any, ms: float) -> dict[str, Any]:
        if not isinstance(output, dict) or "actions" not in output:
            raise UserError(
                f"policy {self._name!r} replied without 'actions': infer has to return a dict with them"
            )
        actions = output["actions"]
        if isinstance(actions, Tensor):
            actions = actions.detach().cpu()
        actions = np.ascontiguousarray(actions, dtype=np.float32)
        if actions.ndim == 1:  # a policy without chunks
            actions = actions[None]
        return {"policy_timing": {"infer_ms": ms}, **output, "actions": actions}


def _prompts_vary(policy: Any) -> bool:
    """Return whether the state is in the prompt, so that no two are equal, and the policy has no help for it."""
    model = getattr(getattr(policy, "config", None), "model", None)
    return bool(getattr(model, "discrete_state_input", False)) and not callable(
        getattr(policy, "batch_key", None)
    )


def _negative(obs: dict[str, Any]) -> dict[str, Any]:
    """Return the observation with other pictures: their negatives."""
    pictures = {key: value for key, value in obs.items() if getattr(value, "dtype", None) == np.uint8}
    return {**obs, **{key: 255 - value for key, value in pictures.items()}}


class OneThread:
    """Keeps torch to one thread per operation while anybody needs it so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 1

    def acquire(self) -> None:
        """Need it."""
        with self._lock:
            if self._users == 0:
                self._before = torch.get_num_threads()
            self._users += 1
            torch.set_num_threads(1)

    def release(self) -> None:
        """Need it no longer."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                torch.set_num_threads(self._before)


one_thread = OneThread()
