"""The time of every module on a CPU, as this thread's processor time, without the time that looking at it takes.

An inference computes on one thread; what else the machine does meanwhile does not count.

Looking costs some microseconds a span. How many is found in the same inferences: those that are watched take turns
with those that are not, and what the first take longer is divided among their spans.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import thread_time_ns
from typing import Any

from torch import nn

from headless_eval.performance.spans import SETUP, Span, watched

_WITHIN = 0.37
"""The share of the cost of looking that falls into the span itself, as it does for modules that do nothing."""


@dataclass
class SpanTime:
    """What all calls of one span took, in nanoseconds, without the spans directly within it; and their number."""

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
    """Adds up spans by the thread's processor time; a ``Listener``."""

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
    """Measure inferences on this thread, watched and not in turns.

    Every figure is a median, so that what else the machine does falls on none of them for good.

    Args:
        model: what infers.
        infer: makes an inference.
        repeats: of each kind, at least 2.
        done: is called after each pair.

    Returns:
        The milliseconds of an inference in every span, without those within it; and those of the inferences that
        were not watched, to whose median they add up, or to less where the machine was disturbed.
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
