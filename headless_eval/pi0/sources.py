"""Arrays on disk, and their way onto a GPU."""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from queue import Queue
from threading import Event

import torch
from torch import Tensor

Fill = Callable[[Tensor, int], object]
Index = tuple[int, ...]

_LANES = 6
_PIECE = 2**24  # bytes; each lane has two such pieces of pinned memory


class Source(ABC):
    """An array where it lies, of which one parameter or several are parts.

    Attributes:
        shape: of the array.
        dtype: of the array.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype):
        self.shape, self.dtype = shape, dtype

    @property
    def nbytes(self) -> int:
        """Return how many bytes the array has in memory."""
        return self.dtype.itemsize * math.prod(self.shape)

    @abstractmethod
    def open(self) -> AbstractContextManager[Fill]:
        """Give what fills a piece of memory (uint8, one axis) from a byte of the array on.

        From call to call that byte may only go up: what is compressed comes in its order.
        """

    def read(self) -> Tensor:
        """Return the whole array."""
        return next(part for *_, part in read({self: [()]}))

    def place(self, index: Index) -> int:
        """Return the byte at which a part begins that is given by its place along the first axes."""
        strides = (math.prod(self.shape[axis + 1 :]) for axis in range(len(index)))
        return self.dtype.itemsize * sum(at * stride for at, stride in zip(index, strides, strict=True))


def as_bytes(array: Tensor) -> Tensor:
    """Return a contiguous array's bytes as a view: uint8, one axis."""
    return array.reshape(-1).view(torch.uint8)


def read(wanted: Mapping[Source, Collection[Index]]) -> Iterator[tuple[Source, Index, Tensor]]:
    """Read parts of arrays, one after another, each into memory of its own."""
    for source, indices in wanted.items():
        with source.open() as fill:
            for index in sorted(indices, key=source.place):
                part = torch.empty(source.shape[len(index) :], dtype=source.dtype)
                fill(as_bytes(part), source.place(index))
                yield source, index, part
                del part


def upload(
    wanted: Mapping[Source, Collection[Index]], device: torch.device
) -> Iterator[tuple[Source, Index, Tensor]]:
    """Bring parts of arrays onto a GPU, several arrays at a time, in the order in which they get there.

    Bytes go through pinned memory that is used again and again: memory fresh from the system costs more time than
    reading does, and a copy from memory that is not pinned waits for another one.
    """
    stream = torch.cuda.current_stream(device)
    waiting = deque(wanted)
    arrived: Queue[tuple[Source, Index, Tensor, torch.cuda.Event] | Exception | None] = Queue(2)
    given_up = Event()

    def work() -> None:
        try:
            lane = _Lane(stream)
            while waiting and not given_up.is_set():
                source = waiting.popleft()
                with source.open() as fill:
                    for index in sorted(wanted[source], key=source.place):
                        arrived.put((source, index, *lane.bring(source, index, fill)))
                        if given_up.is_set():
                            break
        except Exception as error:
            arrived.put(error)
        arrived.put(None)

    with ThreadPoolExecutor(_LANES, "upload") as pool:
        running = len([pool.submit(work) for _ in range(_LANES)])
        try:
            while running:
                came = arrived.get()
                if came is None:
                    running -= 1
                    continue
                if isinstance(came, Exception):
                    raise came
                source, index, part, there = came
                stream.wait_event(there)
                yield source, index, part
                del came, part  # the caller has what it needs of it
        finally:
            given_up.set()
            while running:  # none waits for room for ever
                running -= arrived.get() is None


class _Lane:
    """One thread's pinned memory, of which one half is filled while the other is copied from."""

    def __init__(self, stream: torch.cuda.Stream):
        self._main, self._stream = stream, torch.cuda.Stream(stream.device)
        self._halves = [
            (torch.empty(_PIECE, dtype=torch.uint8, pin_memory=True), torch.cuda.Event()) for _ in range(2)
        ]

    def bring(self, source: Source, index: Index, fill: Fill) -> tuple[Tensor, torch.cuda.Event]:
        """Return a part of an array on the GPU, and the event after which it will be there."""
        with torch.cuda.stream(self._main):
            shape = source.shape[len(index) :]
            part = torch.empty(shape, dtype=source.dtype, device=self._main.device)
            allocated = self._main.record_event()
        begin, data = source.place(index), as_bytes(part)
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
            return part, self._stream.record_event()
