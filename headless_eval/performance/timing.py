"""Measurement of time: on a GPU with CUDA events, on a CPU with the host's clock."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

T = TypeVar("T")


class Stopwatch:
    """Timer of single calls.

    On a GPU, the time between an event before the call and an event after it, with no other work running: it includes
    the launching of kernels wherever the device has to wait for it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self, call: Callable[[], T]) -> tuple[T, float]:
        """Return the call's result and its time in milliseconds."""
        if self._device.type != "cuda":
            begin = time.perf_counter()
            return call(), 1e3 * (time.perf_counter() - begin)
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(self._device)
        stream = torch.cuda.current_stream(self._device)
        before.record(stream)
        result = call()
        after.record(stream)
        after.synchronize()
        return result, before.elapsed_time(after)


def wall(device: torch.device, call: Callable[[], T]) -> tuple[T, float]:
    """Return the call's result and the milliseconds until the device has finished, by the host's clock."""
    synchronize(device)
    begin = time.perf_counter()
    result = call()
    synchronize(device)
    return result, 1e3 * (time.perf_counter() - begin)


def processor(call: Callable[[], T]) -> tuple[T, float]:
    """Return the call's result and this thread's processor time in milliseconds."""
    begin = time.thread_time()
    return call(), 1e3 * (time.thread_time() - begin)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Times:
    """The 5th, 50th and 95th percentiles of repeated measurements, in milliseconds."""

    number: int
    p5: float
    median: float
    p95: float


def summarize(milliseconds: Sequence[float]) -> Times:
    """Return the percentiles of at least one measurement."""
    p5, p50, p95 = np.percentile(milliseconds, (5, 50, 95))
    return Times(len(milliseconds), float(p5), float(p50), float(p95))


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Set the number of torch's CPU threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
