"""Compute devices: existence and free memory."""

import os
from pathlib import Path

import torch

from headless_eval.errors import UserError


def check_device(device: str, instead: str = "leave --gpu (device) out") -> None:
    """Refuse a device that does not exist.

    Args:
        device: torch's name of the device.
        instead: flag that selects the CPU, for the message.

    Raises:
        UserError: the name is not a device's, or the device does not exist on this machine.
    """
    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = torch.device("meta")
    if wanted.type not in ("cpu", "cuda"):
        raise UserError(f"unknown device {device!r}: use cpu, cuda or cuda:INDEX")
    if wanted.type == "cuda":
        there = torch.cuda.device_count()
        if not torch.cuda.is_available():
            raise UserError(f"no device {device!r}: torch finds no CUDA GPU here; for the CPU {instead}")
        if (wanted.index or 0) >= there:
            raise UserError(f"no device {device!r}: there are {there} GPUs, counted from 0")


def memory_free(device: torch.device) -> int:
    """Return the free memory of a device in bytes; for the CPU, within the container's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit():
        free = min(free, int(limit[0]) - int(used[0]))
    return free


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []
