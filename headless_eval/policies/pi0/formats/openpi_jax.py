"""openpi's JAX checkpoints: orbax's ``params/``, read with tensorstore alone, so that no JAX is ever started."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Semaphore
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headless_eval.checkpoints.sources import Fill, Index, StoredArray, Tile, as_bytes
from headless_eval.checkpoints.stored import Stored
from headless_eval.errors import UserError
from headless_eval.shared.program import install

_MARKERS = ("manifest.ocdbt", "_METADATA")
_ARRAYS = {"/.zarray": "zarr", "/zarr.json": "zarr3"}
_TYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64)
}
_PIECE = 2**21  # bytes read at a time; larger ones come in memory fresh from the system, which costs more

Transform = Callable[[Tensor], Tensor]


def _same(x: Tensor) -> Tensor:
    return x


def _transposed(x: Tensor) -> Tensor:
    return x.t()


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1)


def _heads_last(x: Tensor) -> Tensor:
    """Kernel (width, heads, head size) to weight (heads * head size, width)."""
    return x.flatten(1).t()


def _heads_in(x: Tensor) -> Tensor:
    """Kernel (heads, head size, width) to weight (width, heads * head size)."""
    return x.flatten(0, 1).t()


def _heads_first(x: Tensor) -> Tensor:
    """Kernel (heads, width, head size) to weight (heads * head size, width)."""
    return x.permute(0, 2, 1).flatten(0, 1)


# JAX's names after params/, and for each what becomes of it: our name, which part, and in which order of axes.
# ``{}`` is the layer, whose axis comes first in arrays that hold all layers.
_Part = tuple[str, Index, Transform]
_BLOCK = "PaliGemma/img/Transformer/encoderblock/"
_ATTENTION = f"{_BLOCK}MultiHeadDotProductAttention_0/"


def _table() -> dict[str, list[_Part]]:
    table: dict[str, list[_Part]] = {
        "PaliGemma/img/embedding/kernel": [
            ("vision.patch_embedding.weight", (), lambda x: x.permute(3, 2, 0, 1))
        ],
        "PaliGemma/img/embedding/bias": [("vision.patch_embedding.bias", (), _same)],
        "PaliGemma/img/pos_embedding": [("vision.position_embedding.weight", (0,), _same)],
        "PaliGemma/img/Transformer/encoder_norm/scale": [("vision.post_layernorm.weight", (), _same)],
        "PaliGemma/img/Transformer/encoder_norm/bias": [("vision.post_layernorm.bias", (), _same)],
        "PaliGemma/img/head/kernel": [("image_projector.weight", (), _transposed)],
        "PaliGemma/img/head/bias": [("image_projector.bias", (), _same)],
        "PaliGemma/llm/embedder/input_embedding": [("language.embed_tokens.weight", (), _same)],
    }
    for index in (0, 1):
        norm, dense = f"vision.layers.{{}}.layer_norm{index + 1}.", f"vision.layers.{{}}.mlp.fc{index + 1}."
        table[f"{_BLOCK}LayerNorm_{index}/scale"] = [(f"{norm}weight", (), _same)]
        table[f"{_BLOCK}LayerNorm_{index}/bias"] = [(f"{norm}bias", (), _same)]
        table[f"{_BLOCK}MlpBlock_0/Dense_{index}/kernel"] = [(f"{dense}weight", (), _transposed)]
        table[f"{_BLOCK}MlpBlock_0/Dense_{index}/bias"] = [(f"{dense}bias", (), _same)]
    for theirs, ours in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("out", "out_proj")):
        turn = _heads_in if theirs == "out" else _heads_last
        name = f"vision.layers.{{}}.self_attn.{ours}."
        table[f"{_ATTENTION}{theirs}/kernel"] = [(f"{name}weight", (), turn)]
        table[f"{_ATTENTION}{theirs}/bias"] = [(f"{name}bias", (), _flat)]
    for suffix, model in (("", "language"), ("_1", "expert")):
        layers, layer = "PaliGemma/llm/layers/", f"{model}.layers.{{}}."
        attention, mlp = f"{layer}self_attn.", f"{layer}mlp."
        table[f"{layers}attn/q_einsum{suffix}/w"] = [(f"{attention}q_proj.weight", (), _heads_first)]
        table[f"{layers}attn/kv_einsum{suffix}/w"] = [
            (f"{attention}k_proj.weight", (0,), _heads_first),
            (f"{attention}v_proj.weight", (1,), _heads_first),
        ]
        table[f"{layers}attn/attn_vec_einsum{suffix}/w"] = [(f"{attention}o_proj.weight", (), _heads_in)]
        table[f"{layers}mlp{suffix}/gating_einsum"] = [
            (f"{mlp}gate_proj.weight", (0,), _transposed),
            (f"{mlp}up_proj.weight", (1,), _transposed),
        ]
        table[f"{layers}mlp{suffix}/linear"] = [(f"{mlp}down_proj.weight", (), _transposed)]
        for theirs, ours in (
            (f"{layers}pre_attention_norm{suffix}", f"{layer}input_layernorm."),
            (f"{layers}pre_ffw_norm{suffix}", f"{layer}post_attention_layernorm."),
            (f"PaliGemma/llm/final_norm{suffix}", f"{model}.norm."),
        ):
            table[f"{theirs}/scale"] = [(f"{ours}weight", (), _same)]
            table[f"{theirs}/Dense_0/kernel"] = [(f"{ours}dense.weight", (), _transposed)]
            table[f"{theirs}/Dense_0/bias"] = [(f"{ours}dense.bias", (), _same)]
    for name in ("state_proj", "action_in_proj", "action_out_proj"):
        table |= _projection(name)
    for name in ("time_mlp_in", "time_mlp_out", "action_time_mlp_in", "action_time_mlp_out"):
        table |= _projection(name)
    return table


def _projection(name: str) -> dict[str, list[_Part]]:
    return {
        f"{name}/kernel": [(f"{name}.weight", (), _transposed)],
        f"{name}/bias": [(f"{name}.bias", (), _same)],
    }


_TABLE = _table()


def to_jax(name: str) -> str:
    """Return openpi's JAX name of a parameter for ours; that of all layers for one of a layer."""
    pattern = ".".join("{}" if part.isdigit() else part for part in name.split("."))
    for theirs, parts in _TABLE.items():
        if any(ours == pattern for ours, _, _ in parts):
            return theirs
    return name


def find_params(directory: Path) -> Path | None:
    """Return the folder with orbax's arrays: ``params`` in a checkpoint, or in that one again; None if none."""
    for folder in (directory / "params", directory / "params" / "params"):
        if any((folder / marker).is_file() for marker in _MARKERS):
            return folder
    return None


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
        """Call tensorstore, and say what its errors mean."""
        try:
            return call()
        except (ValueError, OSError, KeyError) as error:
            raise _damaged(self.folder, error) from None


def _damaged(folder: Path, error: object) -> UserError:
    first = str(error).splitlines()[0][:160]
    return UserError(f"{folder} is incomplete or damaged ({first}): copy it again")


def _is_complete(folder: Path) -> bool:
    """Return whether every chunk has been written, also those of zeros alone: orbax states it."""
    try:
        said = json.loads((folder / "_METADATA").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("store_array_data_equal_to_fill_value") is True


class _Array(StoredArray):
    """An array that holds a parameter, in most cases of every layer.

    orbax writes what one device held as one chunk, or several where that is above 2 GiB, each compressed. Chunks are
    decoded as streams: decoded whole, an array would be in memory several times, all of it memory fresh from the
    system.

    Raises:
        UserError: its type is none of floating-point numbers.
    """

    def __init__(self, arrays: _Arrays, name: str, array: Any):
        kind = array.dtype.name
        if kind not in _TYPES:
            raise UserError(f"{name} in {arrays.folder} is {kind}, not a floating-point number")
        super().__init__(tuple(array.shape), _TYPES[kind])
        self._arrays, self._name, self._array = arrays, name, array

    @contextmanager
    def open(self) -> Iterator[Fill]:
        with self._arrays.decoding:
            data = as_bytes(self._whole())
            yield lambda piece, begin: piece.copy_(data[begin : begin + len(piece)])

    def tiles(self) -> Sequence[Tile]:
        """Return its chunks, if they can be decoded as streams, else itself."""
        metadata = self._array.spec().to_json()["metadata"]
        wanted = {"zarr_format": 2, "order": "C", "filters": None}
        compressor = metadata.get("compressor") or {}
        if any(metadata.get(key) != value for key, value in wanted.items()) or compressor.get("id") != "zstd":
            return super().tiles()
        if metadata["dtype"].startswith(">"):
            return super().tiles()
        chunk, separator = tuple(metadata["chunks"]), metadata["dimension_separator"]
        tiles, there = [], True
        for at in itertools.product(
            *(range(-(-size // of)) for size, of in zip(self.shape, chunk, strict=True))
        ):
            key = f"{self._name}/{separator.join(map(str, at)) or '0'}"
            there &= key in self._arrays.keys
            begin = tuple(number * of for number, of in zip(at, chunk, strict=True))
            tiles.append(Tile(_Chunk(self._arrays, key, chunk, self.dtype), begin))
        # Where all values are the same a chunk may be missing.
        return tiles if there or self._arrays.complete else super().tiles()

    def _whole(self) -> Tensor:
        array = np.asarray(self._arrays.call(lambda: self._array.read().result()))
        if self.dtype == torch.bfloat16:  # which NumPy has from another package, and torch does not know
            array = array.view(np.int16)
        return torch.from_numpy(array).view(self.dtype)


class _Chunk(StoredArray):
    """A chunk of an array, in full also where it reaches beyond the array's end."""

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
        """Fill a piece of memory from a byte on; what is before it is passed over.

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
    """A chunk as it is stored, as a file that can only be read on; the next piece while the last one is used."""

    def __init__(self, arrays: _Arrays, key: str):
        self._pieces = self._read_on(arrays, key)

    def read(self, _: int) -> bytes:
        """Return some bytes, none at the end."""
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


def stored_parameters(folder: Path) -> dict[str, Stored]:
    """Return what a JAX checkpoint's ``params`` holds, by our names, largest arrays first.

    An array holds a parameter of all layers. One that has to be decoded whole takes about three times its size for a
    moment, so the largest come first, while a model on the CPU is still small.

    Args:
        folder: as ``find_params`` finds it.

    Raises:
        UserError: tensorstore is not installed, or the files are incomplete or damaged.
    """
    arrays = _Arrays(folder)
    opened_arrays = arrays.open(arrays.names())
    if not opened_arrays:
        raise UserError(f"{folder} holds no arrays: copy the checkpoint again, with its hidden files")
    stored: dict[str, Stored] = {}
    for path, array in sorted(opened_arrays.items(), key=lambda item: -item[1].nbytes):
        name = _plain_name(path)
        for ours, index, transform in _parts(name, array.shape):
            stored[ours] = _part(array, name, index, transform)
    return stored


def _part(array: _Array, name: str, index: Index, transform: Transform) -> Stored:
    try:
        shape = tuple(transform(torch.empty(array.shape, device="meta")[index]).shape)
    except (IndexError, RuntimeError):
        shape = array.shape  # of too few axes: the check of shapes says so
    return Stored(name + "".join(f"[{at}]" for at in index), shape, array, index, transform)


def _parts(name: str, shape: tuple[int, ...]) -> Iterator[_Part]:
    for ours, index, transform in _TABLE.get(name, [(name, (), _same)]):
        if "{}" not in ours:
            yield ours, index, transform
            continue
        for layer in range(shape[0] if shape else 0):
            yield ours.format(layer), (layer, *index), transform


def _plain_name(path: str) -> str:
    """Return ``PaliGemma/img/...`` for ``params.PaliGemma.img...``, in which training wraps it or not."""
    parts = path.replace("/", ".").split(".")
    if parts[0] == "params":
        parts = parts[1:]
    if parts[-1] == "value":
        parts = parts[:-1]
    return "/".join(parts)
