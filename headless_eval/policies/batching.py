"""Batched inference with one fixed batch size, so that no reply depends on the number of observations per call."""

import logging
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headless_eval.errors import UserError
from headless_eval.policies.adapter import Adapter

_log = logging.getLogger(__name__)

_CPU_BATCH, _GPU_BATCH = 4, 8

Noise = np.ndarray | None


@dataclass(frozen=True)
class Timing:
    """Time of inference: number of calls of the model, number of observations, milliseconds per call."""

    calls: int
    observations: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    max_ms: float


@dataclass(frozen=True)
class _Input:
    """An observation's prepared input, and the milliseconds of its preparation."""

    prepared: Any
    noise: Noise
    slot: int
    prepare_ms: float


class Batching:
    """Caller of a policy in batches of one fixed size, several batches at a time on a CPU; see ``LocalPolicy``.

    Args:
        policy: the policy.
        name: the policy's name in messages.
        on_cpu: whether the policy computes on a CPU.
        max_batch: the fixed batch size; None: the device's default. It is 1 for policies that cannot be batched.
        threads: number of batches at a time on a CPU. It is 1 for policies that are not ``concurrent``.

    Attributes:
        no_gradients: the context in which the policy computes, by default inference mode.
        size: the batch size; it is halved when the GPU's memory does not suffice.
        threads: number of batches at a time.
    """

    def __init__(
        self, policy: Adapter, name: str, *, on_cpu: bool, max_batch: int | None, threads: int
    ) -> None:
        self._policy, self._name = policy, name
        if not policy.can_batch:
            max_batch = 1
        elif max_batch is None:
            max_batch = _CPU_BATCH if on_cpu else _GPU_BATCH
        self.size = max_batch
        self.threads = threads if on_cpu and policy.concurrent else 1
        self.no_gradients: Callable[[], AbstractContextManager[Any]] = torch.inference_mode
        self._tried = max_batch == 1
        self._before: tuple[int, bool] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._calls: list[tuple[float, int]] = []

    def infer(
        self, observations: Sequence[dict[str, Any]], noises: Sequence[Noise], slots: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Return the replies to observations, in their order.

        Raises:
            UserError: a reply has no actions.
        """
        if not observations:
            return []
        inputs = [
            self._prepare(obs, noise, slot)
            for obs, noise, slot in zip(observations, noises, slots, strict=True)
        ]
        while True:
            try:
                if not self._tried:
                    self._try(inputs[0], observations[0])
                replies = self._infer_chunks(inputs)
                break
            except torch.OutOfMemoryError:
                if self.size == 1:
                    raise
                self.size //= 2
                _log.warning("%s: the GPU's memory is full; batches of %d from now on", self._name, self.size)
            # Out of the handler, whose traceback keeps the tensors of the failed attempt alive.
            torch.cuda.empty_cache()
        return [self._policy.conclude(reply, one.slot) for reply, one in zip(replies, inputs, strict=True)]

    @property
    def timing(self) -> Timing:
        """Return the time of the inferences since the last ``forget``."""
        calls = list(self._calls)
        if not calls:
            return Timing(0, 0, 0.0, 0.0, 0.0, 0.0)
        ms = np.array([milliseconds for milliseconds, _ in calls])
        p50, p95 = np.percentile(ms, (50, 95))
        observations = sum(number for _, number in calls)
        return Timing(len(ms), observations, float(ms.mean()), float(p50), float(p95), float(ms.max()))

    def forget(self) -> None:
        """Reset the timing."""
        self._calls = []

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Do not count inferences within the block in the timing."""
        calls, self._calls = self._calls, []
        try:
            yield
        finally:
            self._calls = calls

    def check_again(self) -> None:
        """Check before the next inference whether rows depend on each other: other code has changed the model."""
        if self._before is None:
            self._before = self.size, self._tried
            self._tried = self.size == 1

    def check_as_before(self) -> None:
        """Return to the batch size that ``check_again`` found, since the model is as it was."""
        if self._before is not None:
            (self.size, self._tried), self._before = self._before, None

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _prepare(self, obs: dict[str, Any], noise: Noise, slot: int) -> _Input:
        begin = time.perf_counter()
        prepared = self._policy.prepare(obs)
        return _Input(prepared, noise, slot, 1e3 * (time.perf_counter() - begin))

    def _infer_chunks(self, inputs: Sequence[_Input]) -> list[dict[str, Any]]:
        replies: list[dict[str, Any]] = [{}] * len(inputs)

        def infer(rows: list[int]) -> None:
            chunk = self._infer_chunk([inputs[row] for row in rows])
            for row, reply in zip(rows, chunk, strict=True):
                replies[row] = reply

        chunks = self._chunks(inputs)
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

    def _chunks(self, inputs: Sequence[_Input]) -> list[list[int]]:
        """Return the groups of inputs that form batches."""
        if self.size == 1:
            return [[row] for row in range(len(inputs))]
        groups: dict[Hashable, list[int]] = {}
        for row, one in enumerate(inputs):
            groups.setdefault(self._policy.batch_key(one.prepared), []).append(row)
        return [
            rows[start : start + self.size]
            for rows in groups.values()
            for start in range(0, len(rows), self.size)
        ]

    def _infer_chunk(self, inputs: list[_Input]) -> list[dict[str, Any]]:
        begin = time.perf_counter()
        if self.size == 1:
            with self.no_gradients():
                outputs = [self._policy.infer(inputs[0].prepared, inputs[0].noise, inputs[0].slot)]
        else:
            outputs = self._full_batch(inputs)
        ms = 1e3 * (time.perf_counter() - begin) + sum(one.prepare_ms for one in inputs)
        self._calls.append((ms, len(inputs)))
        return [self._reply(output, ms) for output in outputs]

    def _full_batch(self, inputs: Sequence[_Input]) -> list[Any]:
        rows = [*inputs, *[inputs[-1]] * (self.size - len(inputs))]
        noises = [row.noise for row in rows if row.noise is not None]
        noise = np.stack([np.asarray(one) for one in noises]) if noises else None
        with self.no_gradients():
            outputs = self._policy.infer_batch(
                [row.prepared for row in rows], noise, [row.slot for row in rows]
            )
        return list(outputs[: len(inputs)])

    def _try(self, one: _Input, obs: dict[str, Any]) -> None:
        """Fall back to batch size 1 if a row's result depends on its position or on the other rows.

        Libraries and processors do not guarantee that a matrix product rounds all rows alike, although those in use do.
        """
        noises: list[Noise] = [None] * self.size
        if self._policy.noise_shape is not None:
            shape = (self.size, *self._policy.noise_shape)
            noises = list(np.random.default_rng(0).standard_normal(shape, np.float32))
        first = replace(one, noise=noises[0])
        negative = self._prepare(_negative(obs), None, one.slot)
        others = [replace(negative, noise=noise) for noise in noises[1:]]
        # Each reply is copied before the next call: a policy may reuse the memory of its replies.
        replies = [np.asarray(self._full_batch([first, *others])[0]["actions"]).tobytes()]
        replies.append(np.asarray(self._full_batch([*others, first])[-1]["actions"]).tobytes())
        replies += [np.asarray(reply["actions"]).tobytes() for reply in self._full_batch([first] * self.size)]
        if len(set(replies)) > 1:
            _log.warning("%s: rows of a batch depend on each other here; inferring one by one", self._name)
            self.size = 1
        self._tried = True

    def _reply(self, output: Any, ms: float) -> dict[str, Any]:
        if not isinstance(output, dict) or "actions" not in output:
            raise UserError(
                f"policy {self._name!r} replied without 'actions': infer has to return a dict with them"
            )
        actions = output["actions"]
        if isinstance(actions, Tensor):
            actions = actions.detach().cpu().float().numpy()
        # A copy: a policy may reuse the memory of its replies.
        actions = np.array(actions, dtype=np.float32, order="C")
        if actions.ndim == 1:  # a policy without chunks
            actions = actions[None]
        return {"policy_timing": {"infer_ms": ms}, **output, "actions": actions}


def _negative(obs: dict[str, Any]) -> dict[str, Any]:
    """Return the observation with its images inverted."""
    pictures = {key: value for key, value in obs.items() if getattr(value, "dtype", None) == np.uint8}
    return {**obs, **{key: 255 - value for key, value in pictures.items()}}


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread per operation on the calling thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
