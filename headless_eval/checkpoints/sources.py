"""Arrays on disk, and their way onto a GPU."""

import math
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
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

    def tiles(self) -> "Sequence[Tile]":
        """Return the arrays that it is made of, where it is stored in pieces; it may be its own only one."""
        return [Tile(self, (0,) * len(self.shape))]

    def read(self) -> Tensor:
        """Return the whole array."""
        return next(part for *_, part in arrays({self: [()]}, torch.device("cpu")))

    def place(self, index: Index) -> int:
        """Return the byte at which a part begins that is given by its place along the first axes."""
        strides = (math.prod(self.shape[axis + 1 :]) for axis in range(len(index)))
        return self.dtype.itemsize * sum(at * stride for at, stride in zip(index, strides, strict=True))


@dataclass(frozen=True)
class Tile:
    """An array that is a part of another one of as many axes.

    Attributes:
        source: the tile; along each axis it may reach beyond the end of what it is a part of.
        begin: where it begins there, along each axis.
    """

    source: Source
    begin: tuple[int, ...]

    def inside(self, index: Index) -> Index | None:
        """Return the place in the tile of a part given by its place in the whole; None if it holds nothing of it."""
        inside = tuple(at - begin for at, begin in zip(index, self.begin, strict=False))
        return (
            inside
            if all(0 <= at < size for at, size in zip(inside, self.source.shape, strict=False))
            else None
        )


def as_bytes(array: Tensor) -> Tensor:
    """Return a contiguous array's bytes as a view: uint8, one axis."""
    return array.reshape(-1).view(torch.uint8)


def arrays(
    wanted: Mapping[Source, Collection[Index]], device: torch.device
) -> Iterator[tuple[Source, Index, Tensor]]:
    """Bring parts of arrays onto a device, put together where they lie in tiles.

    On a CPU they come one array after another, on a GPU as they get there.
    """
    pieces: dict[Source, dict[Index, tuple[Source, Index, tuple[int, ...]]]] = {}
    missing: Counter[tuple[Source, Index]] = Counter()
    for source, indices in wanted.items():
        for tile in source.tiles():
            for index in indices:
                inside = tile.inside(index)
                if inside is not None:
                    pieces.setdefault(tile.source, {})[inside] = source, index, tile.begin[len(index) :]
                    missing[source, index] += 1
    begun: dict[tuple[Source, Index], Tensor] = {}
    for stored, inside, piece in upload(pieces, device) if device.type == "cuda" else read(pieces):
        source, index, begin = pieces[stored][inside]
        shape = source.shape[len(index) :]
        if piece.shape == shape:
            yield source, index, piece
        else:
            if (source, index) not in begun:
                begun[source, index] = torch.empty(shape, dtype=source.dtype, device=device)
            # The slice ends where the whole does, the tile may not.
            room = begun[source, index][
                tuple(slice(at, at + size) for at, size in zip(begin, piece.shape, strict=True))
            ]
            room.copy_(piece[tuple(map(slice, room.shape))])
            missing[source, index] -= 1
            if not missing[source, index]:
                yield source, index, begun.pop((source, index))
        del piece  # before the next one comes


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
    """Bring parts of arrays onto a GPU, several arrays at a time, in the order in which they get there; largest first.

    Bytes go through pinned memory that is used again and again: memory fresh from the system costs more time than
    reading does, and a copy from memory that is not pinned waits for another one.
    """
    stream = torch.cuda.current_stream(device)
    waiting = deque(sorted(wanted, key=lambda source: -source.nbytes))
    arrived: Queue[tuple[Source, Index, Tensor, torch.cuda.Event] | Exception | None] = Queue(2)
    given_up = Event()

    def work() -> None:
        try:
            lane = _Lane(stream)
            while not given_up.is_set():
                try:
                    source = waiting.popleft()
                except IndexError:
                    break
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
