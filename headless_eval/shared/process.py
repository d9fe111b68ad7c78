"""End of the process: by Ctrl-C, or by simulators that have to end it themselves, with the program's exit status."""

import math
import signal
from collections.abc import Callable
from time import monotonic

_PAUSE = 1.0  # seconds

_endings: list[Callable[[int], None]] = []


def interrupt_once() -> None:
    """Take several Ctrl-C within a second for one: the second would break off what the first began to put in order.

    Where the signal is ignored, as under nohup, it stays ignored.
    """
    last = -math.inf

    def interrupt(number: int, frame: object) -> None:
        nonlocal last
        before, last = last, monotonic()
        if last - before > _PAUSE:
            raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)


def ignore_interrupts() -> None:
    """Let further Ctrl-C do nothing: the process is about to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def at_end(ending: Callable[[int], None]) -> None:
    """Let a function be called with the exit status when the program has done its work; it may end the process."""
    if ending not in _endings:
        _endings.append(ending)


def end(status: int) -> int:
    """Call what ``at_end`` was given, once, and return the exit status if the process is still there."""
    while _endings:
        _endings.pop()(status)
    return status
