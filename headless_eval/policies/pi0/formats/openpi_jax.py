"""openpi's JAX checkpoints: what the arrays in orbax's ``params/`` are called, and how they become our parameters."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from headless_eval.checkpoints.orbax import is_orbax, open_arrays
from headless_eval.checkpoints.sources import Index, StoredArray
from headless_eval.checkpoints.stored import Stored
from headless_eval.errors import UserError
from headless_eval.policies.paligemma.config import MOST_LAYERS
from headless_eval.policies.pi0.formats import FORMATS

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
    """Return the folder with orbax's arrays: ``params`` or ``params/params``; None if neither holds arrays."""
    for folder in (directory / "params", directory / "params" / "params"):
        if is_orbax(folder):
            return folder
    return None


def stored_parameters(folder: Path) -> dict[str, Stored]:
    """Return what a JAX checkpoint's ``params`` holds, by our names, largest arrays first.

    An array holds a parameter of all layers. One that has to be decoded whole takes about three times its size for a
    moment, so the largest come first, while a model on the CPU is still small.

    Args:
        folder: as ``find_params`` finds it.

    Raises:
        UserError: tensorstore is not installed, or the files are incomplete or damaged.
    """
    stored: dict[str, Stored] = {}
    for path, array in sorted(open_arrays(folder).items(), key=lambda item: -item[1].nbytes):
        name = _plain_name(path)
        for ours, index, transform in _parts(name, array.shape):
            stored[ours] = _part(array, name, index, transform)
    return stored


def _part(array: StoredArray, name: str, index: Index, transform: Transform) -> Stored:
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
        for layer in range(min(shape[0], MOST_LAYERS + 1) if shape else 0):  # more fit no configuration
            yield ours.format(layer), (layer, *index), transform


def _plain_name(path: str) -> str:
    """Return ``PaliGemma/img/...`` for ``params.PaliGemma.img...``, in which training wraps it or not."""
    parts = path.replace("/", ".").split(".")
    if parts[0] == "params":
        parts = parts[1:]
    if parts[-1] == "value":
        parts = parts[:-1]
    return "/".join(parts)


class OpenpiJax:
    """Orbax's ``params/``; statistics are in ``assets/``."""

    general = False

    def owns(self, folder: Path) -> bool:
        """Return whether the folder holds orbax's arrays."""
        return find_params(folder) is not None

    def describe(self, folder: Path) -> str:
        """Return the format's name."""
        return "openpi (JAX)"

    def files(self, folder: Path) -> list[Path]:
        """Return the files of the arrays."""
        return [path for path in self._params(folder).rglob("*") if path.is_file()]

    def open(self, folder: Path) -> dict[str, Stored]:
        """Return what the arrays hold, by our names."""
        return stored_parameters(self._params(folder))

    def their_name(self, name: str) -> str:
        """Return openpi's JAX name of a parameter for ours."""
        return to_jax(name)

    def statistics(self, folder: Path) -> None:
        """Return None: statistics are in ``assets/``."""

    def config(self, folder: Path, robot: str | None) -> None:
        """Return None: openpi's folders state no configuration."""

    def _params(self, folder: Path) -> Path:
        params = find_params(folder)
        assert params is not None
        if any(folder.glob("model*.safetensors")):
            raise UserError(
                f"{folder} holds weights twice, in {params.name}/ (JAX) and in safetensors (PyTorch): "
                "move one of them elsewhere"
            )
        return params


FORMATS.add("openpi_jax", OpenpiJax())
