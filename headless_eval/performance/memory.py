"""How much memory something takes: on a GPU by torch's count, on a CPU by the kernel's."""

import gc
from contextlib import suppress
from pathlib import Path

import torch


class MemoryMark:
    """Tells the most memory in use since it was made.

    On a GPU that is what has come on top of what was there. On a CPU it is all of the process's resident set: a
    process uses again what it has freed, so what is new in it says little.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            self._before = torch.cuda.memory_allocated(device)
        self.forget_peak()

    def forget_peak(self) -> None:
        """Count from now on; what there was at the beginning stays what nothing is counted from."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            with suppress(OSError):  # a kernel that cannot forget the peak so far reports that one
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def peak(self) -> int:
        """Return the most bytes since."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return _status("VmHWM")


def free_unused(device: torch.device) -> None:
    """Give memory that nothing refers to back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
