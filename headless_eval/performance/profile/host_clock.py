"""Processor time of every module on a CPU, without the cost of measuring.

An inference computes on one thread, and only this thread's processor time counts, not that of other programs.

Measuring costs some microseconds per span. Inferences with and without measuring take turns, and the difference of
their times is divided among the spans and subtracted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import thread_time_ns
from typing import Any

from torch import nn

from headless_eval.performance.spans import SETUP, Span, watched

_WITHIN = 0.37
"""The share of the cost of measuring that falls into the span itself, found with modules that do nothing."""


@dataclass
class SpanTime:
    """Time of all calls of one span in nanoseconds, without the spans directly within it, and the number of calls."""

    calls: int = 0
    self_ns: float = 0.0
    within: int = 0


@dataclass
class _Open:
    span: Span
    began: int
    inner_ns: int = 0
    within: int = 0


@dataclass
class HostClock:
    """A ``Listener`` that sums the thread's processor time of spans."""

    times: dict[Span, SpanTime] = field(default_factory=dict)
    _open: list[_Open] = field(default_factory=list)

    def begin(self, span: Span) -> None:
        """A span begins."""
        self._open.append(_Open(span, thread_time_ns()))

    def end(self) -> None:
        """The innermost span ends."""
        now = thread_time_ns()
        this = self._open.pop()
        elapsed = now - this.began
        time = self.times.setdefault(this.span, SpanTime())
        time.calls += 1
        time.self_ns += elapsed - this.inner_ns
        time.within += this.within
        if self._open:
            self._open[-1].inner_ns += elapsed
            self._open[-1].within += 1

    def returned(self, span: Span, inputs: Any, value: Any) -> None:
        """Nothing that takes time."""


def time_spans(
    model: nn.Module, infer: Callable[[], Any], repeats: int, done: Callable[[], None]
) -> tuple[dict[Span, float], list[float]]:
    """Measure inferences on this thread, with and without measuring in turns.

    Every figure is a median, so that short disturbances of the machine have no effect.

    Args:
        model: the model.
        infer: runs an inference.
        repeats: number of inferences of each kind, at least 2.
        done: called after each pair of inferences.

    Returns:
        The milliseconds of every span in an inference, without the spans within it; and the times of the inferences
        without measuring. The spans add up to the median of these times, or to less if the machine was disturbed.
    """
    plain: list[int] = []
    runs: list[dict[Span, SpanTime]] = []
    for _ in range(repeats):
        begin = thread_time_ns()
        infer()
        plain.append(thread_time_ns() - begin)
        clock = HostClock()
        with watched(model, clock):
            clock.begin(Span(SETUP, ""))
            infer()
            clock.end()
        runs.append(clock.times)
        done()
    found = {span: median(run[span].self_ns for run in runs) for span in runs[0]}
    spans = sum(time.calls for time in runs[0].values())
    looking = max(0.0, sum(found.values()) - median(plain)) / spans
    for span, time in runs[0].items():
        found[span] -= looking * (_WITHIN * time.calls + (1 - _WITHIN) * time.within)
    return {span: ns / 1e6 for span, ns in found.items()}, [ns / 1e6 for ns in plain]
