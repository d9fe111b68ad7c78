"""Kernels and operators of an inference, from a Chrome trace of torch's profiler, with times and ranges.

On a GPU a kernel belongs to the range that launched it: its correlation number leads to the launch on the host, which
lies within the open ranges. So the kernels of a CUDA graph belong to the range around the graph's launch.
"""

import gzip
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from headless_eval.performance.spans import Span
from headless_eval.shared.stderr import no_stderr

_ON_GPU = ("kernel", "gpu_memcpy", "gpu_memset")
_LAUNCHES = ("cuda_runtime", "cuda_driver")
_ON_HOST = ("cpu_op", "user_annotation")
# Our flow step's products are named by what they end with; they come before the attention that theirs are named for.
_KINDS = {
    "norms": ("_norm", "layer_norm", "rms_norm", "rsqrt"),
    "quantizers": ("quant", "to_float8", "_round", "aten::round", "median", "sort", "aminmax"),
    "matrix products": (
        "gemm", "gemv", "nvjet", "cutlass", "xmma", "cublas", "addmm", "::mm", "::bmm", "linear", "matmul", "conv",
        "scaled", "splitk", "norm_qkv", "norm_gate_up", "add_attention", "add_mlp", "finish",
    ),
    "attention": ("attend", "attention", "flash", "fmha", "sdpa", "softmax"),
    "copies": ("memcpy", "memset", "copy", "cat", "clone", "index", "gather", "embedding"),
}  # fmt: skip


@dataclass(frozen=True)
class KernelTime:
    """One kernel or operator of an inference.

    Args:
        name: the kernel's or operator's name.
        within: the innermost range of the call; empty without a range.
        ms: its time, without operators within it. Where kernels overlap, the time counts for the earlier kernel,
            because the later kernel begins by waiting for it.
    """

    name: str
    within: str
    ms: float

    @property
    def kind(self) -> str:
        """Return the kind of the kernel, derived from its name."""
        name = self.name.lower()
        if "scaled_dot_product" in name:
            return "attention"
        return next((kind for kind, words in _KINDS.items() if any(word in name for word in words)), "other")


class Ranges:
    """A ``Listener`` that marks spans in a trace."""

    def __init__(self) -> None:
        self._open: list[record_function] = []

    def begin(self, span: Span) -> None:
        """A span begins."""
        self._open.append(record_function(str(span)))
        self._open[-1].__enter__()

    def end(self) -> None:
        """The innermost span ends."""
        self._open.pop().__exit__(None, None, None)

    def returned(self, span: Span, inputs: Any, value: Any) -> None:
        """Nothing to mark."""


def record(device: torch.device, infer: Callable[[], Any], path: Path) -> None:
    """Profile one inference and write its Chrome trace, gzipped if the name says so."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
        # The first use of the GPU's tracing takes its time.
        with profile(activities=activities, acc_events=True):
            infer()
            torch.cuda.synchronize(device)
    # The profiler's C++ code prints there that it starts and stops.
    with no_stderr(), profile(activities=activities, acc_events=True) as profiler:
        infer()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    profiler.export_chrome_trace(str(plain))
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(plain.read_bytes(), 6))
        plain.unlink()


def read(path: Path) -> list[KernelTime]:
    """Return the work in a trace: kernels if there are any, else the host's operators."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    events = [event for event in json.loads(data)["traceEvents"] if event.get("ph") == "X"]
    kernels = [event for event in events if event.get("cat") in _ON_GPU]
    return list(_of_gpu(kernels, events)) if kernels else list(_of_host(events))


def _of_gpu(kernels: list[dict], events: list[dict]) -> Iterator[KernelTime]:
    ranges: dict[Any, list[dict]] = {}
    for event in events:
        if event.get("cat") == "user_annotation":
            ranges.setdefault(event.get("tid"), []).append(event)
    finders = {thread: _Finder(of) for thread, of in ranges.items()}
    launches = {
        event["args"]["correlation"]: event
        for event in events
        if event.get("cat") in _LAUNCHES and "correlation" in event.get("args", {})
    }
    busy_until = 0.0
    for kernel in sorted(kernels, key=lambda kernel: kernel["ts"]):
        end = kernel["ts"] + kernel["dur"]
        own, busy_until = max(0.0, end - max(kernel["ts"], busy_until)), max(busy_until, end)
        launch = launches.get(kernel.get("args", {}).get("correlation"))
        finder = finders.get(launch.get("tid")) if launch else None
        within = finder.innermost(launch["ts"]) if finder and launch else ""
        yield KernelTime(kernel["name"], within, own / 1e3)


class _Finder:
    """Search for the innermost of nested ranges on one thread."""

    def __init__(self, ranges: list[dict]) -> None:
        self._ranges = sorted(ranges, key=lambda event: (event["ts"], -event["dur"]))
        self._starts = [event["ts"] for event in self._ranges]
        self._outer: list[int] = []  # of each range, the index of the one that holds it
        stack: list[int] = []
        for index, event in enumerate(self._ranges):
            while stack and self._end(stack[-1]) <= event["ts"]:
                stack.pop()
            self._outer.append(stack[-1] if stack else -1)
            stack.append(index)

    def _end(self, index: int) -> float:
        return self._ranges[index]["ts"] + self._ranges[index]["dur"]

    def innermost(self, time: float) -> str:
        index = bisect_right(self._starts, time) - 1
        while index >= 0 and self._end(index) < time:
            index = self._outer[index]
        return self._ranges[index]["name"] if index >= 0 else ""


def _of_host(events: list[dict]) -> Iterator[KernelTime]:
    """Return operators with their own time, on any thread."""
    threads: dict[Any, list[dict]] = {}
    for event in events:
        if event.get("cat") in _ON_HOST:
            threads.setdefault(event.get("tid"), []).append(event)
    for of in threads.values():
        of.sort(key=lambda event: (event["ts"], -event["dur"]))
        own = [event["dur"] for event in of]
        stack: list[int] = []
        within = []
        for index, event in enumerate(of):
            while stack and of[stack[-1]]["ts"] + of[stack[-1]]["dur"] <= event["ts"]:
                stack.pop()
            if stack:
                own[stack[-1]] -= event["dur"]
            ranges = (of[other]["name"] for other in reversed(stack) if of[other]["cat"] == "user_annotation")
            within.append(event["name"] if event["cat"] == "user_annotation" else next(ranges, ""))
            stack.append(index)
        for event, ms, where in zip(of, own, within, strict=True):
            yield KernelTime(event["name"], where, ms / 1e3)
