"""Drawing by EGL while CUDA computes, in one process: some drivers abort or hang, so a child process tries it.

``try_it`` starts the program ``draw_beside_cuda`` and says how that ended.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

SECONDS = 60.0
"""The child's time limit; most of what it needs is the import of torch."""
_PROGRAM = "headless_eval.sims.draw_beside_cuda"
_WELL = "drew "  # begins what the program says at its end
NOT_TRIED = 3
"""The program's exit status where it cannot compute: the GPU's memory is full, say, or takes one process alone."""


@dataclass(frozen=True)
class Outcome:
    """How the trial ended.

    Args:
        well: whether all was drawn and computed; None: the child could not compute, so nothing was tried.
        text: what happened, as a part of a sentence.
    """

    well: bool | None
    text: str


def try_it(device: str = "cuda", seconds: float = SECONDS, command: Sequence[str] | None = None) -> Outcome:
    """Draw and compute in a child process, and return how that ended.

    Args:
        device: what torch computes on meanwhile.
        seconds: the child's time limit.
        command: the child; by default the program.
    """
    command = command or [sys.executable, "-m", _PROGRAM, "--device", device]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        said, complained = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # it may be stuck in the driver, where no signal reaches it
            child.communicate(timeout=5)
        return Outcome(False, f"hangs: it did not end within {seconds:g} s")
    if child.returncode < 0:
        return Outcome(False, f"aborts ({signal.Signals(-child.returncode).name})")
    lines = said.splitlines()
    last = (complained.strip().splitlines() or ["no word of why"])[-1]
    if child.returncode == NOT_TRIED:
        return Outcome(None, f"was not tried: {last}")
    if child.returncode or not lines or not lines[-1].startswith(_WELL):
        return Outcome(False, f"fails (exit status {child.returncode}: {last})")
    return Outcome(True, lines[-1])
