"""Arrays in orbax's format, as written by JAX, read with tensorstore and without JAX.

This module knows no model.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Semaphore
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headless_eval.checkpoints.sources import Fill, StoredArray, Tile, as_bytes
from headless_eval.errors import UserError
from headless_eval.shared.program import install
from headless_eval.shared.untrusted import read_json

_MARKERS = ("manifest.ocdbt", "_METADATA")
_ARRAYS = {"/.zarray": "zarr", "/zarr.json": "zarr3"}
_TYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64)
}
_SURPLUS = 16  # how many times larger than a small array a chunk of it may be
_PIECE = 2**21  # bytes read at a time; larger ones come in memory fresh from the system, which costs more


def is_orbax(folder: Path) -> bool:
    """Return whether orbax's arrays lie in a folder."""
    return any((folder / marker).is_file() for marker in _MARKERS)


def open_arrays(folder: Path) -> dict[str, StoredArray]:
    """Return the arrays in a folder by their paths in it, without reading their content.

    Raises:
        UserError: tensorstore is not installed, the files are incomplete or damaged, the folder has no array, or an
            array is not of floating-point numbers.
    """
    arrays = _Arrays(folder)
    opened = arrays.open(arrays.names())
    if not opened:
        raise UserError(f"{folder} holds no arrays: copy the checkpoint again, with its hidden files")
    return dict(opened)


class _Arrays:
    """The arrays of one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.store = _open_store(folder)
        self.keys = {key.decode() for key in self.call(self.store.list().result)}
        self.complete = _is_complete(folder)
        self.decoding = Semaphore(2)  # of whole arrays, which takes memory

    def names(self) -> dict[str, str]:
        """Return each array's path in the folder and its driver."""
        return {
            key.removesuffix(end): driver
            for key in sorted(self.keys)
            for end, driver in _ARRAYS.items()
            if key.endswith(end)
        }

    def open(self, names: dict[str, str]) -> dict[str, "_Array"]:
        """Open all arrays at once, without reading their content."""
        import tensorstore

        opening = {
            name: tensorstore.open(
                {"driver": driver, "fill_missing_data_reads": not self.complete},
                kvstore=self.store / f"{name}/",
                open=True,
                read=True,
            )
            for name, driver in names.items()
        }
        return {name: _Array(self, name, self.call(future.result)) for name, future in opening.items()}

    def call(self, call: Callable[[], Any]) -> Any:
        """Call tensorstore, and translate its errors."""
        try:
            return call()
        except (ValueError, OSError, KeyError) as error:
            raise _damaged(self.folder, error) from None


def _damaged(folder: Path, error: object) -> UserError:
    first = str(error).splitlines()[0][:160]
    return UserError(f"{folder} is incomplete or damaged ({first}): copy it again")


def _is_complete(folder: Path) -> bool:
    """Return whether every chunk was written, including chunks of zeros, as orbax's metadata says."""
    try:
        said = read_json(folder / "_METADATA")
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("store_array_data_equal_to_fill_value") is True


class _Array(StoredArray):
    """An array that holds a parameter, in most cases of every layer.

    orbax writes what one device held as one chunk, or several where that is above 2 GiB, each compressed. Chunks are
    decoded as streams: decoded whole, an array would be in memory several times, all of it memory fresh from the
    system.

    Raises:
        UserError: the array's type is not a floating-point type.
    """

    def __init__(self, arrays: _Arrays, name: str, array: Any):
        kind = array.dtype.name
        if kind not in _TYPES:
            raise UserError(f"{name} in {arrays.folder} is {kind}, not a floating-point number")
        super().__init__(tuple(array.shape), _TYPES[kind])
        chunk = math.prod(size or 1 for size in array.chunk_layout.read_chunk.shape or ())
        if chunk > _SURPLUS * (math.prod(self.shape) + _PIECE):  # each is decoded into memory of its size
            raise _damaged(arrays.folder, f"{name} is stored in pieces that are larger than it")
        self._arrays, self._name, self._array = arrays, name, array

    @contextmanager
    def open(self) -> Iterator[Fill]:
        with self._arrays.decoding:
            data = as_bytes(self._whole())
            yield lambda piece, begin: piece.copy_(data[begin : begin + len(piece)])

    def tiles(self) -> Sequence[Tile]:
        """Return the array's chunks if they can be decoded as streams, else the array itself."""
        metadata = self._array.spec().to_json()["metadata"]
        wanted = {"zarr_format": 2, "order": "C", "filters": None}
        compressor = metadata.get("compressor") or {}
        if any(metadata.get(key) != value for key, value in wanted.items()) or compressor.get("id") != "zstd":
            return super().tiles()
        if metadata["dtype"].startswith(">"):
            return super().tiles()
        chunk, separator = tuple(metadata["chunks"]), metadata["dimension_separator"]
        numbers = [-(-size // of) for size, of in zip(self.shape, chunk, strict=True)]
        if math.prod(numbers) > len(self._arrays.keys):  # some are missing; and a file may state any number
            return super().tiles()
        tiles, there = [], True
        for at in itertools.product(*map(range, numbers)):
            key = f"{self._name}/{separator.join(map(str, at)) or '0'}"
            there &= key in self._arrays.keys
            begin = tuple(number * of for number, of in zip(at, chunk, strict=True))
            tiles.append(Tile(_Chunk(self._arrays, key, chunk, self.dtype), begin))
        # A chunk may be missing if all its values are the same.
        return tiles if there or self._arrays.complete else super().tiles()

    def _whole(self) -> Tensor:
        array = np.asarray(self._arrays.call(lambda: self._array.read().result()))
        if self.dtype == torch.bfloat16:  # which NumPy has from another package, and torch does not know
            array = array.view(np.int16)
        return torch.from_numpy(array).view(self.dtype)


class _Chunk(StoredArray):
    """A chunk of an array, in its full size even if it extends beyond the array's end."""

    def __init__(self, arrays: _Arrays, key: str, shape: tuple[int, ...], dtype: torch.dtype):
        super().__init__(shape, dtype)
        self._arrays, self._key = arrays, key

    @contextmanager
    def open(self) -> Iterator[Fill]:
        yield _Stream(self._arrays, self._key).fill


class _Stream:
    """A chunk's bytes in their order, read and decoded piece by piece."""

    def __init__(self, arrays: _Arrays, key: str):
        import zstandard

        self._folder, self._error = arrays.folder, zstandard.ZstdError
        compressed: Any = _Compressed(arrays, key)
        self._decoder = zstandard.ZstdDecompressor().stream_reader(compressed)
        self._at = 0

    def fill(self, piece: Tensor, begin: int) -> None:
        """Fill a piece of memory from a byte on; earlier bytes are skipped.

        Raises:
            UserError: the chunk is damaged.
        """
        while self._at < begin:
            self._decode(torch.empty(min(_PIECE, begin - self._at), dtype=torch.uint8))
        self._decode(piece)

    def _decode(self, piece: Tensor) -> None:
        view = piece.numpy().data
        while view:
            try:
                count = self._decoder.readinto(view)
            except self._error as error:
                raise _damaged(self._folder, error) from None
            if not count:
                raise _damaged(self._folder, "an array ends early")
            view = view[count:]
            self._at += count


class _Compressed:
    """A stored chunk as a forward-only file, which reads ahead while the last piece is used."""

    def __init__(self, arrays: _Arrays, key: str):
        self._pieces = self._read_on(arrays, key)

    def read(self, _: int) -> bytes:
        """Return some bytes; empty at the end."""
        return next(self._pieces, b"")

    @staticmethod
    def _read_on(arrays: _Arrays, key: str) -> Iterator[bytes]:
        begin, ahead = 0, arrays.store.read(key, byte_range=slice(0, _PIECE))
        while True:
            try:
                value = ahead.result().value
            except ValueError:  # there are fewer bytes left than asked for
                break
            begin += _PIECE
            ahead = arrays.store.read(key, byte_range=slice(begin, begin + _PIECE))
            yield value
        yield arrays.call(arrays.store.read(key, byte_range=slice(begin, None)).result).value


def _open_store(folder: Path) -> Any:
    try:
        import tensorstore
        import zstandard  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{folder} is a JAX checkpoint, and {error.name}, which reads it, is not installed: "
            + install("headless-eval[openpi]")
        ) from None
    path = f"{folder.resolve()}/"
    plain = {"driver": "file", "path": path}
    spec = {"driver": "ocdbt", "base": plain} if (folder / "manifest.ocdbt").is_file() else plain
    try:
        return tensorstore.KvStore.open(spec).result()
    except (ValueError, OSError) as error:
        raise UserError(f"cannot open the JAX checkpoint {folder}: {error}") from None
