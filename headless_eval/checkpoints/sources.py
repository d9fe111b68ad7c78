"""Stored arrays: reading them from disk on a CPU, and uploading them to a GPU."""

import math
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Event

import torch
from torch import Tensor

from headless_eval.errors import UserError

Fill = Callable[[Tensor, int], object]
Index = tuple[int, ...]

_LANES = 6
_PIECE = 2**24  # bytes; each lane has two such pieces of pinned memory


class StoredArray(ABC):
    """An array on disk, of which one or several parameters of a model are parts.

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
        """Open the array, and return a function that fills memory (uint8, one axis) from a given byte of it on.

        That byte may only increase from call to call, as compressed arrays can only be read forwards.
        """

    def tiles(self) -> "Sequence[Tile]":
        """Return the pieces that the array is stored in; by default the array itself."""
        return [Tile(self, (0,) * len(self.shape))]

    def read(self) -> Tensor:
        """Return the whole array."""
        return next(part for *_, part in arrays({self: [()]}, torch.device("cpu")))

    def place(self, index: Index) -> int:
        """Return the byte at which the part with this index along the first axes begins."""
        strides = (math.prod(self.shape[axis + 1 :]) for axis in range(len(index)))
        return self.dtype.itemsize * sum(at * stride for at, stride in zip(index, strides, strict=True))


class Span(StoredArray):
    """A tensor's bytes in a file, which are those that it has in memory."""

    def __init__(self, path: Path, start: int, shape: tuple[int, ...], dtype: torch.dtype):
        super().__init__(shape, dtype)
        self._path, self._start = path, start

    @contextmanager
    def open(self) -> Iterator[Fill]:
        """Open the file; a UserError is raised where it ends before the tensor does."""
        with self._path.open("rb", buffering=0) as file:

            def fill(piece: Tensor, begin: int) -> None:
                file.seek(self._start + begin)
                view = piece.numpy().data
                while view:  # one call reads 2 GB at most
                    count = file.readinto(view)
                    if not count:
                        raise UserError(f"{self._path} is truncated: copy it again")
                    view = view[count:]

            yield fill


@dataclass(frozen=True)
class Tile:
    """An array that is a piece of a larger one with the same number of axes.

    Attributes:
        source: the tile; along each axis it may reach beyond the end of the larger array.
        begin: where it begins in the larger array, along each axis.
    """

    source: StoredArray
    begin: tuple[int, ...]

    def inside(self, index: Index) -> Index | None:
        """Return the index in the tile of a part given by its index in the larger array; None if it lies outside."""
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
    wanted: Mapping[StoredArray, Collection[Index]], device: torch.device
) -> Iterator[tuple[StoredArray, Index, Tensor]]:
    """Read parts of arrays onto a device; parts stored in several tiles are put together.

    Args:
        wanted: indices along the first axes of the parts of each array; ``()`` for the whole array.
        device: where the parts go.

    Yields:
        The array, the index and the part: on a CPU one array after another, on a GPU in the order of arrival.
    """
    pieces: dict[StoredArray, dict[Index, tuple[StoredArray, Index, tuple[int, ...]]]] = {}
    missing: Counter[tuple[StoredArray, Index]] = Counter()
    for source, indices in wanted.items():
        for tile in source.tiles():
            for index in indices:
                inside = tile.inside(index)
                if inside is not None:
                    pieces.setdefault(tile.source, {})[inside] = source, index, tile.begin[len(index) :]
                    missing[source, index] += 1
    begun: dict[tuple[StoredArray, Index], Tensor] = {}
    for stored, inside, piece in upload(pieces, device) if device.type == "cuda" else read(pieces):
        source, index, begin = pieces[stored][inside]
        shape = source.shape[len(index) :]
        if piece.shape == shape:
            yield source, index, piece
        else:
            if (source, index) not in begun:
                begun[source, index] = torch.empty(shape, dtype=source.dtype, device=device)
            # The slice ends where the larger array does; the tile may reach further.
            room = begun[source, index][
                tuple(slice(at, at + size) for at, size in zip(begin, piece.shape, strict=True))
            ]
            room.copy_(piece[tuple(map(slice, room.shape))])
            missing[source, index] -= 1
            if not missing[source, index]:
                yield source, index, begun.pop((source, index))
        del piece  # before the next one comes


def read(wanted: Mapping[StoredArray, Collection[Index]]) -> Iterator[tuple[StoredArray, Index, Tensor]]:
    """Read parts of arrays one after another, each into newly allocated memory."""
    for source, indices in wanted.items():
        with source.open() as fill:
            for index in sorted(indices, key=source.place):
                part = torch.empty(source.shape[len(index) :], dtype=source.dtype)
                fill(as_bytes(part), source.place(index))
                yield source, index, part
                del part


def upload(
    wanted: Mapping[StoredArray, Collection[Index]], device: torch.device
) -> Iterator[tuple[StoredArray, Index, Tensor]]:
    """Upload parts of arrays to a GPU, several arrays at a time, largest first; yield them in the order of arrival.

    Bytes go through pinned memory that is reused: allocating memory takes longer than reading, and memory that is not
    pinned is first copied into pinned memory.
    """
    stream = torch.cuda.current_stream(device)
    waiting = deque(sorted(wanted, key=lambda source: -source.nbytes))
    arrived: Queue[tuple[StoredArray, Index, Tensor, torch.cuda.Event] | Exception | None] = Queue(2)
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
                source, index, part, arrival = came
                stream.wait_event(arrival)
                yield source, index, part
                del came, part  # so that only the caller keeps the memory
        finally:
            given_up.set()
            while running:  # empty the queue, or a thread would wait for room in it for ever
                running -= arrived.get() is None


class _Lane:
    """One thread's pinned memory: while one half is filled, the other is copied to the GPU."""

    def __init__(self, stream: torch.cuda.Stream):
        self._main, self._stream = stream, torch.cuda.Stream(stream.device)
        self._halves = [
            (torch.empty(_PIECE, dtype=torch.uint8, pin_memory=True), torch.cuda.Event()) for _ in range(2)
        ]

    def bring(self, source: StoredArray, index: Index, fill: Fill) -> tuple[Tensor, torch.cuda.Event]:
        """Return a part of an array on the GPU, and the event that marks its arrival."""
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
