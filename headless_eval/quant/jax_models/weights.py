"""Weights of a JAX policy: where they are, how they are called, and what shares a scale.

Weights are the ``nnx.Param`` variables of Flax NNX modules among the policy's attributes, and the trees of Flax Linen:
attributes called ``params`` or ``variables``, or named by the policy's ``jax_weights``. Functions that keep weights in
their closure, as ``jax.jit`` of a function over ``nnx.split`` does, are given the same arrays.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from headless_eval.errors import UserError
from headless_eval.quant.casts import fake_quantize
from headless_eval.quant.dtypes import DTYPES

_TREES = ("params", "_params", "variables", "_variables")
_STACKED = re.compile(r"(^|\.)(layers|encoderblock)\.(?!\d)")
"""Names within layers that ``flax.linen.scan`` has stacked, as openpi's and big_vision's models call them."""

# What is summed over in products, as axes from the end, by the names that Linen, openpi and big_vision give weights.
_SUMMED: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"(^|\.)(q|kv|qkv)_einsum(_\d+)?\.w$", (-2,)),
    (r"(^|\.)attn_vec_einsum(_\d+)?\.w$", (-3, -2)),
    (r"(^|\.)mlp(_\d+)?\.(gating_einsum|linear)$", (-2,)),
    (r"(^|\.)(input_embedding|embedding)$", (-1,)),
)


@dataclass(frozen=True)
class Axes:
    """The axes of a weight.

    Args:
        layers: number of leading axes that count stacked layers, each of which is a weight of its own.
        summed: the axes that a product sums over, from the end; all others are output channels. Empty for a weight with
            fewer than two axes. None: not known.
    """

    layers: int
    summed: tuple[int, ...] | None

    def kept(self, ndim: int, dtype: str) -> tuple[int, ...] | None:
        """Return the axes whose indices have scales of their own; None where they are not known."""
        stacked = tuple(range(self.layers))
        if DTYPES[dtype].scale != "channel" or ndim - self.layers < 2:
            return stacked
        if self.summed is None:
            return None
        return tuple(axis for axis in range(ndim) if axis - ndim not in self.summed)


@dataclass(frozen=True)
class Weight:
    """One weight: its dotted name, its array and its axes."""

    name: str
    array: jax.Array
    axes: Axes

    @property
    def module(self) -> str:
        """The name of the module that holds it."""
        return self.name.rpartition(".")[0]

    def rounded(self, dtype: str) -> jax.Array:
        """Return the array rounded to a data type's values, by the function that rounds torch's weights.

        Raises:
            UserError: each output channel has its own scale, and it is not known which axes are output channels.
        """
        kept = self.axes.kept(self.array.ndim, dtype)
        if kept is None:
            raise UserError(
                f"{dtype} has a scale for each output channel, and which axes of {self.name} {self.array.shape} are "
                "these is not known: let the policy have weight_axes = {'regular expression': (axes summed over, from "
                "the end)}"
            )
        values = torch.from_numpy(np.array(self.array, np.float32))
        rounded = fake_quantize(values, dtype, kept).numpy()
        return jax.device_put(jnp.asarray(rounded).astype(self.array.dtype), self.array.sharding)


class Source:
    """An attribute of a policy that holds weights.

    Args:
        owner: the object with the attribute.
        attribute: its name.
        prefix: what the names of weights and modules begin with.
    """

    def __init__(self, owner: Any, attribute: str, prefix: str) -> None:
        self._owner, self._attribute, self.prefix = owner, attribute, prefix
        self.value = getattr(owner, attribute)

    @property
    def module(self) -> nnx.Module | None:
        """The NNX module; None for a tree of weights."""
        return self.value if isinstance(self.value, nnx.Module) else None

    def weights(self) -> list[Weight]:
        """Return the floating-point weights at present."""
        value = getattr(self._owner, self._attribute)
        found = _of_module(value) if isinstance(value, nnx.Module) else _of_tree(value)
        axes = _declared(self._owner)
        return [
            Weight(name, array, axes(name, array) or guess)
            for name, array, guess in ((f"{self.prefix}{name}".rstrip("."), *rest) for name, *rest in found)
        ]

    def replace(self, arrays: Mapping[int, jax.Array]) -> Callable[[], None]:
        """Put arrays in the place of others, which are named by their ``id``, and return what puts the others back."""
        value = getattr(self._owner, self._attribute)
        if not isinstance(value, nnx.Module):
            setattr(self._owner, self._attribute, replaced(value, arrays))
            return partial(setattr, self._owner, self._attribute, value)
        # nnx.jit gives variables new arrays at every call, so the variables themselves are remembered.
        kept = [
            (variable, variable.get_value())
            for _, variable in nnx.iter_graph(value)
            if isinstance(variable, nnx.Param) and id(variable.get_value()) in arrays
        ]
        for variable, array in kept:
            variable.set_value(arrays[id(array)])

        def put_back() -> None:
            for variable, array in kept:
                variable.set_value(array)

        return put_back


def replaced(tree: Any, arrays: Mapping[int, jax.Array]) -> Any:
    """Return a tree with arrays in the place of others, which are named by their ``id``."""
    return jax.tree.map(lambda leaf: arrays.get(id(leaf), leaf), tree)


def find_sources(policy: Any) -> list[Source]:
    """Return the attributes of a policy that hold weights.

    Raises:
        UserError: ``jax_weights`` names an attribute that the policy does not have.
    """
    attributes = getattr(policy, "__dict__", {})
    named = tuple(getattr(policy, "jax_weights", ()))
    for name in named:
        if not hasattr(policy, name):
            raise UserError(
                f"jax_weights names {name!r}, which the policy {type(policy).__name__} does not have"
            )
    found = [name for name, value in attributes.items() if isinstance(value, nnx.Module)]
    found += [
        name
        for name, value in attributes.items()
        if name not in found and (name in named or name in _TREES) and holds_arrays(value)
    ]
    unique: dict[int, str] = {}
    for name in found:
        unique.setdefault(id(attributes[name]), name)
    several = len(unique) > 1
    return [Source(policy, name, f"{name}." if several else "") for name in unique.values()]


def unnamed(policy: Any, sources: list[Source]) -> list[str]:
    """Return the attributes of a policy that hold floating-point arrays and are not among the sources."""
    known = {id(source.value) for source in sources}
    allowed = tuple(getattr(policy, "jax_constants", ()))
    return [
        name
        for name, value in getattr(policy, "__dict__", {}).items()
        if id(value) not in known and name not in allowed and _may_hold_weights(value)
    ]


def _may_hold_weights(value: Any) -> bool:
    return not isinstance(value, nnx.Module) and any(leaf.ndim >= 2 for leaf in _arrays(value))


def holds_arrays(value: Any) -> bool:
    """Return whether a value is a tree with a floating-point JAX array in it."""
    return bool(_arrays(value))


def _arrays(value: Any) -> list[jax.Array]:
    try:
        leaves = jax.tree.leaves(value)
    except (TypeError, ValueError):
        return []
    return [leaf for leaf in leaves if _is_float(leaf)]


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)


def closures(policy: Any) -> Iterator[Any]:
    """Yield the cells of the closures of a policy's functions, and of the functions in these."""
    seen: set[int] = set()
    pending = list(getattr(policy, "__dict__", {}).values())
    while pending:
        value = pending.pop()
        value = getattr(value, "__func__", value)
        if id(value) in seen:
            continue
        seen.add(id(value))
        pending += [getattr(value, name) for name in ("__wrapped__", "func", "fun") if hasattr(value, name)]
        if isinstance(value, FunctionType):
            for cell in value.__closure__ or ():
                try:
                    inner = cell.cell_contents
                except ValueError:  # not filled yet
                    continue
                yield cell
                if callable(inner) and not isinstance(inner, type):
                    pending.append(inner)


def _of_module(module: nnx.Module) -> Iterator[tuple[str, jax.Array, Axes]]:
    owners = {path: node for path, node in nnx.iter_graph(module) if isinstance(node, nnx.Module)}
    for path, variable in nnx.iter_graph(module):
        if not isinstance(variable, nnx.Param) or not _is_float(variable.get_value()):
            continue
        name, array = ".".join(map(str, path)), variable.get_value()
        yield name, array, _axes_in(owners.get(path[:-1]), str(path[-1]), name, array)


def _of_tree(tree: Any) -> Iterator[tuple[str, jax.Array, Axes]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    paths = [[_key(part) for part in path if _key(part) != "value"] for path, _ in leaves]
    collections = any(path[0] == "params" for path in paths if path)
    for path, (_, array) in zip(paths, leaves, strict=True):
        if not _is_float(array) or (collections and path[0] != "params"):
            continue
        name = ".".join(path[1:] if collections else path)
        yield name, array, _axes_named(name, array)


def _key(part: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(part, attribute):
            return str(getattr(part, attribute))
    return str(part)


def _axes_in(owner: Any, last: str, name: str, array: jax.Array) -> Axes:
    """Return the axes of a weight of an NNX module, whose class tells them."""
    known: tuple[int, tuple[int, ...]] | None = None  # number of axes, and those that are summed over
    if isinstance(owner, nnx.Linear):
        known = (2, (-2,)) if last == "kernel" else (1, ())
    elif isinstance(owner, nnx.LinearGeneral):
        inputs, outputs = (_length(value) for value in (owner.in_features, owner.out_features))
        summed = tuple(range(-inputs - outputs, -outputs))
        known = (inputs + outputs, summed) if last == "kernel" else (outputs, tuple(range(-outputs, 0)))
    elif isinstance(owner, nnx.Conv | nnx.ConvTranspose):
        size = _length(owner.kernel_size) + 2
        known = (size, tuple(range(-size, -1))) if last == "kernel" else (1, ())
        if last == "kernel" and getattr(owner, "transpose_kernel", False):
            known = size, (*range(-size, -2), -1)
    elif isinstance(owner, nnx.Embed):
        known = 2, (-1,)
    elif isinstance(owner, nnx.LayerNorm | nnx.RMSNorm | nnx.BatchNorm | nnx.GroupNorm):
        known = 1, ()
    if known is None:
        return _axes_named(name, array)
    return Axes(array.ndim - known[0], known[1])


def _axes_named(name: str, array: jax.Array) -> Axes:
    """Return the axes of a weight in a tree, as far as its name tells them."""
    parts = name.split(".")
    last, module = parts[-1], parts[-2] if len(parts) > 1 else ""
    least = 2 if last in ("kernel", "embedding", "w") else 1
    layers = 1 if _STACKED.search(name) and array.ndim > least else 0
    ndim = array.ndim - layers
    for pattern, summed in _SUMMED:
        if re.search(pattern, name) and ndim >= 2:
            return Axes(layers, summed)
    if last == "bias" and module in ("query", "key", "value"):
        return Axes(layers, tuple(range(-ndim, 0)))
    if last != "kernel" or ndim < 2:
        return Axes(layers, None)
    if ndim == 3:
        ways = {"query": (-3,), "key": (-3,), "value": (-3,), "out": (-3, -2)}
        return Axes(layers, ways.get(module))
    return Axes(layers, tuple(range(-ndim, -1)))


def _length(value: Any) -> int:
    return len(value) if isinstance(value, tuple | list) else 1


def _declared(policy: Any) -> Callable[[str, jax.Array], Axes | None]:
    """Return a function that gives the axes that the policy declares of a weight."""
    summed: Mapping[str, tuple[int, ...]] = getattr(policy, "weight_axes", {})
    stacked: Mapping[str, int] = getattr(policy, "stacked_axes", {})

    def axes(name: str, array: jax.Array) -> Axes | None:
        layers = next((number for pattern, number in stacked.items() if re.search(pattern, name)), None)
        known = next((tuple(one) for pattern, one in summed.items() if re.search(pattern, name)), None)
        if layers is None and known is None:
            return None
        guess = _axes_named(name, array)
        return Axes(guess.layers if layers is None else layers, guess.summed if known is None else known)

    return axes


def num_elements(weights: list[Weight]) -> int:
    """Return how many numbers some weights hold."""
    return sum(math.prod(weight.array.shape) for weight in weights)
