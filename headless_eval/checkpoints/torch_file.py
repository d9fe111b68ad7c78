"""Files of ``torch.save``, read tensor by tensor without executing code from the pickle.

Such a file is a zip archive with a pickle, which describes the tensors, and the bytes of every tensor. The pickle is
read with an allow-list of names for tensors and containers; any other name is refused, so the file cannot call
functions. Tensors become references to bytes in the file; tensors that are not used are never read.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from headless_eval.checkpoints.sources import Span, StoredArray
from headless_eval.errors import UserError
from headless_eval.shared.untrusted import MOST_BYTES

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_SIZES = ("Size", "device")
_LOCAL_HEADER = 30  # bytes of a zip entry's own header before its name


@dataclass(frozen=True)
class _Storage:
    """A storage: the archive's entry with the numbers, and their type."""

    key: str
    dtype: torch.dtype


@dataclass(frozen=True)
class _Stored:
    """A tensor: where in a storage it begins, in numbers, and its shape and strides."""

    storage: _Storage
    begin: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __setstate__(self, _: object) -> None:
        raise pickle.UnpicklingError("a tensor with a state of its own")


def _rebuild_tensor(storage: _Storage, begin: int, shape: Any, strides: Any, *_: object) -> _Stored:
    whole = (begin, *shape, *strides)
    if not isinstance(storage, _Storage) or any(type(number) is not int or number < 0 for number in whole):
        raise pickle.UnpicklingError("a tensor without a storage or a shape")
    return _Stored(storage, begin, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: _Stored, *_: object) -> _Stored:
    return tensor


def _plain(*arguments: object) -> tuple[object, ...]:
    return arguments


_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "builtins.set": set,
    "__builtin__.set": set,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    **{f"torch.{name}": _plain for name in _SIZES},
}
"""The names that a pickle may use; none of them executes code from the pickle."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        named = f"{module}.{name}"
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if named not in _KNOWN:
            raise _HoldsCode(named)
        return _KNOWN[named]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError("a reference to something that is no storage")
        return _Storage(key, dtype)


class _HoldsCode(pickle.UnpicklingError):
    """The pickle names something beyond tensors and containers."""


class TorchFile:
    """A file of ``torch.save``, whose tensors lie in a dict of one of its keys.

    Attributes:
        shapes: each tensor's shape by its name.

    Raises:
        UserError: the file cannot be read, is truncated or of another kind, contains code, or has no such dict of
            tensors.
    """

    def __init__(self, path: Path, key: str = "model"):
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive, path.open("rb") as file:
                self._root = _root_of(archive)
                self._entries = {entry.filename: entry for entry in archive.infolist()}
                order = self._root + "byteorder"
                if order in self._entries and self._read(archive, order) != b"little":
                    raise UserError(f"{path} was written by a big-endian machine: convert it to safetensors")
                content = _Unpickler(io.BytesIO(self._read(archive, self._root + "data.pkl"))).load()
                tensors = content.get(key) if isinstance(content, dict) else None
                self._tensors = _named_tensors(tensors)
                self._begins = {
                    of.storage.key: self._begin(file, of.storage) for of in self._tensors.values()
                }
        except _HoldsCode as error:
            raise UserError(
                f"{path} holds more than tensors ({error}), which could run code: nothing of it was executed; "
                "get the file from its authors again, or convert it to safetensors where you trust it"
            ) from None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from None
        except (
            zipfile.BadZipFile, pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError,
            AttributeError, IndexError, NotImplementedError, ImportError, MemoryError, RecursionError,
        ) as error:  # fmt: skip
            raise UserError(
                f"{path} is truncated or no checkpoint that torch saved "
                f"({type(error).__name__}: {error}): copy it again"
            ) from None
        if not self._tensors:
            raise UserError(f"{path} holds no tensors under {key!r}: it is no checkpoint of this kind")
        self.shapes: dict[str, tuple[int, ...]] = {name: of.shape for name, of in self._tensors.items()}

    def source(self, name: str) -> StoredArray:
        """Return a reference to a tensor in the file; reading raises a UserError if the file is too short."""
        of = self._tensors[name]
        dtype = of.storage.dtype
        return Span(self.path, self._begins[of.storage.key] + dtype.itemsize * of.begin, of.shape, dtype)

    def same_place(self, one: str, other: str) -> bool:
        """Return whether two names stand for the same bytes."""
        return self._tensors[one] == self._tensors[other]

    def _read(self, archive: zipfile.ZipFile, name: str) -> bytes:
        """Return an entry's content, which may be compressed to a small part of it."""
        if self._entries[name].file_size > MOST_BYTES:
            raise zipfile.BadZipFile(f"{name} is larger than {MOST_BYTES // 2**20} MB")
        return archive.read(name)

    def _begin(self, file: Any, storage: _Storage) -> int:
        """Return the byte of the file at which a storage begins, and check that all its tensors lie within it."""
        entry = self._entries[f"{self._root}data/{storage.key}"]
        if entry.compress_type != zipfile.ZIP_STORED:
            raise zipfile.BadZipFile("its tensors are compressed")
        file.seek(entry.header_offset)
        header = file.read(_LOCAL_HEADER)
        if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
            raise zipfile.BadZipFile("an entry is not where it should be")
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        for name, of in self._tensors.items():
            if of.storage.key == storage.key:
                self._check(name, of, entry.file_size)
        return int(entry.header_offset) + _LOCAL_HEADER + lengths

    def _check(self, name: str, of: _Stored, size: int) -> None:
        if of.storage.dtype.itemsize * (of.begin + math.prod(of.shape)) > size:
            raise zipfile.BadZipFile(f"{name} is larger than what is stored of it")
        stride = 1
        for length, there in zip(reversed(of.shape), reversed(of.strides), strict=True):
            if length > 1 and there != stride:
                raise ValueError(f"{name} is a view of another tensor")
            stride *= length


def _root_of(archive: zipfile.ZipFile) -> str:
    """Return the folder of the archive that everything lies in."""
    roots = [name[: -len("data.pkl")] for name in archive.namelist() if name.endswith("data.pkl")]
    if len(roots) != 1:
        raise zipfile.BadZipFile("it has no data.pkl")
    return roots[0]


def _named_tensors(content: Any) -> Mapping[str, _Stored]:
    if not isinstance(content, dict):
        return {}
    return {name: of for name, of in content.items() if isinstance(name, str) and isinstance(of, _Stored)}
