"""safetensors files, read tensor by tensor without mapping them into memory.

The safetensors library maps a file into memory, and every page that it has read counts as used memory until the system
needs the room: a checkpoint would take twice its size.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from headless_eval.checkpoints.sources import Fill, StoredArray
from headless_eval.errors import UserError

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class SafetensorsFile:
    """One safetensors file, of which the header has been read.

    Attributes:
        shapes: each tensor's shape by its name.

    Raises:
        UserError: the file cannot be read, is truncated, or is no safetensors file.
    """

    def __init__(self, path: Path):
        self.path = path
        _check(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            self._entries = json.loads(file.read(length))
        self._entries.pop("__metadata__", None)
        self._start = 8 + length
        self.shapes: dict[str, tuple[int, ...]] = {
            name: tuple(entry["shape"]) for name, entry in self._entries.items()
        }

    def source(self, name: str) -> StoredArray:
        """Return a tensor of the file, to be read later; reading raises a UserError if the file has become shorter.

        Raises:
            UserError: the tensor's type is unknown.
        """
        entry = self._entries[name]
        if entry["dtype"] not in _DTYPES:
            raise UserError(f"{name} in {self.path} is {entry['dtype']}, which no π0 checkpoint holds")
        start = self._start + entry["data_offsets"][0]
        return _Span(self.path, start, self.shapes[name], _DTYPES[entry["dtype"]])


class _Span(StoredArray):
    """A tensor whose bytes in the file are those that it has in memory."""

    def __init__(self, path: Path, start: int, shape: tuple[int, ...], dtype: torch.dtype):
        super().__init__(shape, dtype)
        self._path, self._start = path, start

    @contextmanager
    def open(self) -> Iterator[Fill]:
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


def _check(path: Path) -> None:
    """Let the library check the header and the file's length."""
    try:
        with safe_open(path, framework="pt", device="cpu"):
            pass
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except SafetensorError as error:
        with path.open("rb") as file:
            start = file.read(4)
        if start[:1] == b"\x80" or start == b"PK\x03\x04":
            raise UserError(
                f"{path} is a pickle, which can run code when it is read: convert it to safetensors"
            ) from None
        raise UserError(f"{path} is truncated or no safetensors file ({error}): copy it again") from None
