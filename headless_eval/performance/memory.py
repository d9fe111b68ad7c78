"""Peak memory: on a GPU as torch counts it, on a CPU as the kernel counts it."""

import gc
from contextlib import suppress
from pathlib import Path

import torch


class MemoryMark:
    """Peak memory since the object was created.

    On a GPU: the peak above the memory in use at the beginning. On a CPU: the peak of the process's resident set,
    because a process reuses freed memory, so a difference to the beginning would mean little.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            self._before = torch.cuda.memory_allocated(device)
        self.forget_peak()

    def forget_peak(self) -> None:
        """Reset the peak; memory in use at the beginning is still subtracted."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            with suppress(OSError):  # some kernels cannot reset the peak
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def peak(self) -> int:
        """Return the peak in bytes."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return _status("VmHWM")


def free_unused(device: torch.device) -> None:
    """Return unreferenced memory to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
