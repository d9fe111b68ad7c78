"""End of the process: some simulators have to end it themselves, with the program's exit status."""

from collections.abc import Callable

_endings: list[Callable[[int], None]] = []


def at_end(ending: Callable[[int], None]) -> None:
    """Let a function be called with the exit status when the program has done its work; it may end the process."""
    if ending not in _endings:
        _endings.append(ending)


def end(status: int) -> int:
    """Call what ``at_end`` was given, once, and return the exit status if the process is still there."""
    while _endings:
        _endings.pop()(status)
    return status
