"""safetensors files read tensor by tensor into memory of their own.

The library maps a file into memory, where every page read stays counted as long as there is room: a checkpoint
would take twice its size.
"""

import json
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

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
    """One file, opened until ``close``.

    Attributes:
        shapes: each tensor's shape by its name.

    Raises:
        UserError: it cannot be read, is truncated, or is something else.
    """

    def __init__(self, path: Path):
        self.path = path
        _check(path)
        self._file: BinaryIO = path.open("rb", buffering=0)
        length = int.from_bytes(self._file.read(8), "little")
        header = json.loads(self._file.read(length))
        header.pop("__metadata__", None)
        self._entries = header
        self._start = 8 + length
        self.shapes: dict[str, tuple[int, ...]] = {
            name: tuple(entry["shape"]) for name, entry in self._entries.items()
        }

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, name: str) -> Tensor:
        """Return a tensor, in memory of its own.

        Raises:
            UserError: its type is unknown, or the file ends before it does.
        """
        entry = self._entries[name]
        if entry["dtype"] not in _DTYPES:
            raise UserError(f"{name} in {self.path} is {entry['dtype']}, which no π0 checkpoint holds")
        begin, end = entry["data_offsets"]
        memory = torch.empty(end - begin, dtype=torch.uint8)
        view = memory.numpy().data
        self._file.seek(self._start + begin)
        while view:  # one call reads 2 GB at most
            count = self._file.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise UserError(f"{self.path} is truncated: copy it again")
            view = view[count:]
        return memory.view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])


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
