"""safetensors files: found, written, and read tensor by tensor, without mapping them into memory.

The safetensors library maps a file into memory, and every page that it has read counts as used memory until the system
needs the room: a checkpoint would take twice its size.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from headless_eval.checkpoints.sources import Span, StoredArray
from headless_eval.errors import UserError
from headless_eval.shared.files import replacing
from headless_eval.shared.untrusted import parse_json

SHARD_BYTES = 14_500_000  # with its header, a file stays under 15 MB

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
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
            self._entries = parse_json(file.read(length))
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
        return Span(self.path, start, self.shapes[name], _DTYPES[entry["dtype"]])


def find_weights(directory: Path) -> list[Path]:
    """Return a checkpoint's weight files: ``model.safetensors``, or all shards ``model-00001-of-00002...``.

    Raises:
        UserError: the folder has no weights, shards are missing, or the only weights are a pickle.
    """
    single = directory / "model.safetensors"
    shards = sorted(directory.glob("model-*-of-*.safetensors"))
    if single.is_file():
        return [single]
    if shards:
        _check_shards(directory, [path.name for path in shards])
        return shards
    if not directory.is_dir():
        raise UserError(f"no checkpoint at {directory}: it has to be a folder")
    pickles = sorted(path.name for path in directory.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise UserError(
            f"{directory / pickles[0]} is a pickle, which can run code when it is read: "
            "convert it to model.safetensors"
        )
    raise UserError(f"no weights in {directory}: there is neither model.safetensors nor params/")


def _check_shards(directory: Path, names: Collection[str]) -> None:
    """Check that these are all shards of one set; a name may state any number of them."""
    match = re.fullmatch(r"model-\d+-of-(\d{1,18})\.safetensors", min(names))
    count = int(match[1]) if match else 0
    # One more than there are names one of at least that is missing, however many there should be.
    wanted = (shard_name(index, count) for index in range(min(count, len(names) + 1)))
    missing = next((name for name in wanted if name not in names), None)
    if missing or len(names) != count:
        what = f"{missing} is missing" if missing else "there are shards of different sets"
        raise UserError(f"the weights in {directory} are incomplete: {what}")


def shard_name(index: int, count: int) -> str:
    """Return the file name of one of ``count`` shards, counted from 0; of the only one if count is 1."""
    return "model.safetensors" if count == 1 else f"model-{index + 1:05d}-of-{count:05d}.safetensors"


def save_shards(directory: Path, tensors: Mapping[str, Tensor], shard_bytes: int = SHARD_BYTES) -> list[Path]:
    """Write tensors by their names, in files of at most ``shard_bytes`` of them; the folder is made.

    A tensor larger than that gets a file of its own. Weight files of other sets are removed afterwards.
    """
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if size + tensor.nbytes > shard_bytes and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / shard_name(index, len(shards)) for index in range(len(shards))]
    for path, shard in zip(paths, shards, strict=True):
        content = {name: tensor.detach().cpu().contiguous() for name, tensor in shard.items()}
        with replacing(path, "wb") as file:
            file.write(save(content, metadata={"format": "pt"}))
    for old in [directory / "model.safetensors", *directory.glob("model-*-of-*.safetensors")]:
        if old not in paths:
            old.unlink(missing_ok=True)
    return paths


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
