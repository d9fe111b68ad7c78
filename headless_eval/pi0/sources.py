"""Arrays on disk, and their way onto a GPU."""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

Fill = Callable[[Tensor, int], object]
Index = tuple[int, ...]

_LANES = 6
_PIECE = 2**24  # bytes; each lane has two such pieces of pinned memory
_FLYING = 2**30  # bytes on their way at a time; what is to be put in order or rounded takes GPU memory twice
_HELD = 0.55  # of all arrays that take host memory, this share at a time; decoding takes about as much again


class Source(ABC):
    """An array where it lies, of which one parameter or several are parts.

    Attributes:
        shape: of the array.
        dtype: of the array.
        host_bytes: host memory that is taken from ``open`` on; 0 where bytes come piece by piece.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, host_bytes: int = 0):
        self.shape, self.dtype, self.host_bytes = shape, dtype, host_bytes

    @abstractmethod
    def read(self) -> Tensor:
        """Return the array, in host memory of its own."""

    @abstractmethod
    def open(self) -> Fill:
        """Return what copies bytes, from a place in the array on, into a piece of memory (uint8, one axis).

        Several threads may call it at once.
        """

    def place(self, index: Index) -> int:
        """Return the byte at which a part begins that is given by its place along the first axes."""
        strides = (math.prod(self.shape[axis + 1 :]) for axis in range(len(index)))
        return self.dtype.itemsize * sum(at * stride for at, stride in zip(index, strides, strict=True))


def as_bytes(array: Tensor) -> Tensor:
    """Return a contiguous array's bytes as a view: uint8, one axis."""
    return array.reshape(-1).view(torch.uint8)


def upload(
    wanted: Mapping[Source, Collection[Index]], device: torch.device
) -> Iterator[tuple[Source, Index, Tensor]]:
    """Bring parts of arrays onto a GPU, several at a time; they come in the order in which they get there.

    Their bytes go through pinned memory that is used again and again: memory fresh from the system costs more time
    than reading does, and a copy from memory that is not pinned waits for another one.
    """
    stream = torch.cuda.current_stream(device)
    limit = _HELD * sum(source.host_bytes for source in wanted)
    lanes: SimpleQueue[_Lane] = SimpleQueue()
    for _ in range(_LANES):
        lanes.put(_Lane(device))

    def move(fill: Fill, begin: int, target: Tensor, allocated: torch.cuda.Event) -> torch.cuda.Event:
        lane = lanes.get()
        try:
            return lane.move(fill, begin, target, allocated)
        finally:
            lanes.put(lane)

    unopened, parts = list(wanted), deque[tuple[Source, Index]]()
    opening: dict[Future[Fill], Source] = {}
    opened: dict[Source, Fill] = {}
    left = {source: len(indices) for source, indices in wanted.items()}
    moving: dict[Future[torch.cuda.Event], tuple[Source, Index, Tensor]] = {}
    with ThreadPoolExecutor(_LANES, "open") as openers, ThreadPoolExecutor(_LANES, "upload") as movers:
        while unopened or opening or opened:
            held = sum(source.host_bytes for source in [*opening.values(), *opened])
            for source in [*unopened]:
                if len(opening) + len(opened) == 2 * _LANES:
                    break
                if (opening or opened) and held + source.host_bytes > limit:
                    continue
                unopened.remove(source)
                opening[openers.submit(source.open)] = source
                held += source.host_bytes
            flying = sum(target.nbytes for *_, target in moving.values())
            while parts and len(moving) < 2 * _LANES:
                source, index = parts[0]
                shape = source.shape[len(index) :]
                flying += source.dtype.itemsize * math.prod(shape)
                if moving and flying > _FLYING:
                    break
                parts.popleft()
                target = torch.empty(shape, dtype=source.dtype, device=device)
                allocated = stream.record_event()
                future = movers.submit(move, opened[source], source.place(index), target, allocated)
                moving[future] = source, index, target
                del target
            pending: list[Future[Any]] = [*opening, *moving]
            done = wait(pending, return_when=FIRST_COMPLETED).done
            for ready in opening.keys() & done:
                source = opening.pop(ready)
                opened[source] = ready.result()
                parts.extend((source, index) for index in wanted[source])
            for there in moving.keys() & done:
                source, *_ = moving[there]
                stream.wait_event(there.result())
                left[source] -= 1
                if not left[source]:
                    del opened[source]
                yield moving.pop(there)


class _Lane:
    """One thread's pinned memory, of which one half is filled while the other is copied from."""

    def __init__(self, device: torch.device):
        self._stream = torch.cuda.Stream(device)
        self._halves: list[tuple[Tensor, torch.cuda.Event]] = []

    def move(self, fill: Fill, begin: int, target: Tensor, allocated: torch.cuda.Event) -> torch.cuda.Event:
        """Copy bytes into memory that is free from ``allocated`` on; when that will be done, the event says."""
        if not self._halves:
            self._halves = [
                (torch.empty(_PIECE, dtype=torch.uint8, pin_memory=True), torch.cuda.Event())
                for _ in range(2)
            ]
        data = as_bytes(target)
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(allocated)
            for at in range(0, len(data), _PIECE):
                memory, copied = self._halves[0]
                self._halves.reverse()
                copied.synchronize()
                to = data[at : at + _PIECE]
                piece = memory[: len(to)]
                fill(piece, begin + at)
                to.copy_(piece, non_blocking=True)
                copied.record(self._stream)
            return self._stream.record_event()
