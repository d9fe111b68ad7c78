"""Measured speeds of this machine, of matrix products and of copies: the limits that times are compared with."""

import platform
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from headless_eval.performance.costs import Speeds
from headless_eval.performance.timing import Stopwatch, processor
from headless_eval.results.manifest import hardware

NARROW = ("float8_e4m3", "int8")
"""Types that a native execution multiplies in."""

_SECONDS = 0.25


@dataclass
class Chip:
    """A device and its speeds, each measured on first use.

    Attributes:
        name: the device's name.
        rates: operations per second of matrix products, by type.
        bandwidth: bytes per second that a copy reads and writes together.
    """

    device: torch.device
    rates: dict[str, float] = field(default_factory=dict)
    bandwidth: float = 0.0

    @property
    def name(self) -> str:
        """Return the device's name."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return str(hardware()["cpu"] or platform.machine())

    def speeds(self, dtype: str) -> Speeds:
        """Return the speeds of products in a type: one of torch's, or of ``NARROW``."""
        if not self.bandwidth:
            self.bandwidth = _bandwidth(self.device)
        if dtype not in self.rates:
            self.rates[dtype] = _matrix_rate(self.device, dtype)
        return Speeds(self.rates[dtype], self.bandwidth)

    def describe(self) -> dict[str, object]:
        """Return the measured speeds; JSON types only."""
        return {
            "name": self.name,
            "threads": torch.get_num_threads() if self.device.type == "cpu" else None,
            "matrix_flops": self.rates,
            "copy_bytes_per_s": self.bandwidth,
        }

    def sentence(self) -> str:
        """Return the measured speeds as text."""
        threads = f", {torch.get_num_threads()} threads" if torch.get_num_threads() > 1 else ", 1 thread"
        rates = ", ".join(f"{dtype} {_tera(rate)}" for dtype, rate in self.rates.items())
        where = self.name + (threads if self.device.type == "cpu" else "")
        if not self.rates:
            return where
        return f"{where}: matrix products {rates}; copies {self.bandwidth / 1e9:,.0f} GB/s"


def _tera(rate: float) -> str:
    return f"{rate / 1e12:,.0f} TFLOP/s" if rate > 1e13 else f"{rate / 1e9:,.0f} GFLOP/s"


def _bandwidth(device: torch.device) -> float:
    """Copy more than any cache holds."""
    source = torch.ones(2**28 if device.type == "cuda" else 2**25, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _seconds(device, lambda: target.copy_(source))


def _matrix_rate(device: torch.device, dtype: str) -> float:
    """Multiply square matrices of random numbers; zeros would run cooler and faster."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device) for _ in range(2))
    multiply = _product(left, right, dtype)
    return 2 * size**3 / _seconds(device, multiply)


def _product(left: Tensor, right: Tensor, dtype: str) -> Callable[[], Tensor]:
    if dtype == "int8":
        a, b = ((32 * part).clamp_(-127, 127).to(torch.int8) for part in (left, right))
        return lambda: torch._int_mm(a, b.t())
    if dtype == "float8_e4m3":
        a, b = (part.to(torch.float8_e4m3fn) for part in (left, right))
        one = torch.ones((), device=left.device)
        return lambda: torch._scaled_mm(a, b.t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=True)
    a, b = (part.to(getattr(torch, dtype)) for part in (left, right))
    return lambda: a @ b


def _seconds(device: torch.device, call: Callable[[], Tensor]) -> float:
    """Return the shortest time of a call in seconds, over a quarter of a second of calls."""
    # On a CPU, other programs on the machine must not count as a limit of the chip.
    stopwatch = Stopwatch(device) if device.type == "cuda" else processor
    for _ in range(3):
        stopwatch(call)
    times: list[float] = []
    spent = 0.0
    while spent < _SECONDS or len(times) < 3:
        _, ms = stopwatch(call)
        times.append(ms / 1e3)
        spent += ms / 1e3
    return min(times)
