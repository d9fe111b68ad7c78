"""Watchdog for calls of the simulator or the policy that do not return.

Nothing can surely end such a call within its own process: it may hang in a driver or in compiled code. So the watchdog
only tells; what it calls journals the episodes as errors and replaces the process by a fresh one. In a process that is
somebody else's, ``interrupt`` ends the call if it runs Python.
"""

import ctypes
import math
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from types import TracebackType
from typing import Any, Self

_LOOKS = 4  # a hang is noticed at most a quarter of the limit late


class Watchdog:
    """Measures in its own thread how long the present call has lasted.

    Args:
        limit: seconds that a call may last; infinite: nothing is watched.
        on_hang: is called once for a call, in the watchdog's thread, with the activity, the episodes that the call is
            for, and the traceback of the thread that hangs. Should the call come back meanwhile, it waits.
    """

    def __init__(self, limit: float, on_hang: Callable[[str, Sequence[Any], str], None]) -> None:
        self._limit, self._on_hang = limit, on_hang
        self._call: tuple[float, str, Sequence[Any]] | None = None
        self._watched = threading.get_ident()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)

    @contextmanager
    def watch(self, activity: str, episodes: Sequence[Any]) -> Iterator[None]:
        """Watch what happens within the block, which is for these episodes."""
        self._call = monotonic(), activity, episodes
        try:
            yield
        finally:
            with self._lock:
                self._call = None

    def interrupt(self, error: type[Exception]) -> None:
        """Raise an error in the watched thread as soon as it runs Python again."""
        set_error = ctypes.pythonapi.PyThreadState_SetAsyncExc
        set_error(ctypes.c_ulong(self._watched), ctypes.py_object(error))

    def __enter__(self) -> Self:
        if math.isfinite(self._limit):
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(min(1.0, self._limit / _LOOKS)):
            with self._lock:
                call = self._call
                if call is None or monotonic() - call[0] <= self._limit:
                    continue
                frame = sys._current_frames().get(self._watched)
                stack = "".join(traceback.format_stack(frame)) if frame else ""
                self._on_hang(call[1], call[2], stack)
                self._call = None
