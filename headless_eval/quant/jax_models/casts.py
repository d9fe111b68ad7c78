"""Casts for JAX arrays: the same values, bit for bit, as ``quant.casts`` computes for torch tensors.

They run inside traced functions. XLA may compute in more precision than is written: a product and a sum as one step, a
conversion there and back as none. So narrow types are rounded by sums with a power of two, and ``_rounded`` stands
where a product has to be rounded before it is used. XLA takes subnormal float32 values for zero on a CPU; apart from
these, from the bits of a NaN and from the sign of zero, results are torch's.

``@cast("int8")`` above a function makes it the cast of the data type that ``dtypes.py`` names int8.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from headless_eval.errors import UserError
from headless_eval.quant.dtypes import DTYPES

Array: TypeAlias = jax.Array
Cast: TypeAlias = Callable[[Array], Array]
"""From float32 to float32. Data types without a scale are given arrays of any shape; others (groups, values)."""

_CASTS: dict[str, Cast] = {}
_SIGN, _UPPER = np.uint32(0x80000000), np.uint32(0xFFFF0000)  # bits of a float32
_SMALLEST = 2.0**-126  # normal float32


def cast(dtype: str) -> Callable[[Cast], Cast]:
    """Return a decorator that makes a function the cast of a data type."""

    def decorate(function: Cast) -> Cast:
        _CASTS[dtype] = function
        return function

    return decorate


def fake_quantize(array: Array, dtype: str, kept: tuple[int, ...] = ()) -> Array:
    """Round an array to the values that ``dtype`` can hold, in float32; the result has the array's type.

    Args:
        array: of a floating-point type, any shape.
        dtype: one of ``DTYPES``.
        kept: the axes whose indices have scales of their own, in rising order.

    Raises:
        UserError: the data type has no cast for JAX.
    """
    if dtype == "float32" or array.size == 0:
        return array
    if dtype not in _CASTS:
        raise UserError(f"{dtype} cannot be computed in JAX: there are {', '.join(_CASTS)}")
    values = _rounded(array.astype(jnp.float32))
    if DTYPES[dtype].scale == "none":
        rounded = _CASTS[dtype](values)
    else:
        front = tuple(range(len(kept)))
        moved = jnp.moveaxis(values, kept, front)
        rows = moved.reshape(*moved.shape[: len(kept)], -1).reshape(-1, moved[(0,) * len(kept)].size)
        rounded = jnp.moveaxis(_CASTS[dtype](rows).reshape(moved.shape), front, kept)
    return _rounded(rounded).astype(array.dtype)


def _bits(x: Array) -> Array:
    return lax.bitcast_convert_type(x, jnp.uint32)


def _float(bits: Array) -> Array:
    return lax.bitcast_convert_type(bits, jnp.float32)


def _rounded(x: Array) -> Array:
    """Return the values as float32 holds them, where XLA would use the unrounded result of a product in a sum.

    The choice changes nothing but the bits of one NaN, and no compiler looks through it.
    """
    return jnp.where(_bits(x) == 0x7FABCDEF, jnp.nan, x)


def _narrow(x: Array, mantissa: int, smallest_normal: float) -> Array:
    """Round to so many bits of mantissa, half to even; below the smallest normal number steps get no finer.

    Adding 1.5 times a power of two leaves room for just these bits.
    """
    power = _float(_bits(x) & 0x7F800000)
    shift = jnp.maximum(power, smallest_normal) * (1.5 * 2.0 ** (23 - mantissa))
    rounded = (x + shift) - shift
    return _float((_bits(rounded) & 0x7FFFFFFF) | (_bits(x) & _SIGN))


@cast("float16")
def _float16(x: Array) -> Array:
    finite = _narrow(x, 10, 2.0**-14)
    infinite = _float((_bits(x) & _SIGN) | 0x7F800000)
    return jnp.where(jnp.isnan(x), x, jnp.where(jnp.abs(x) >= 65520.0, infinite, finite))


@cast("bfloat16")
def _bfloat16(x: Array) -> Array:
    bits = _bits(x)
    rounded = _float((bits + 0x7FFF + ((bits >> 16) & 1)) & _UPPER)
    return jnp.where(jnp.isnan(x), x, rounded)


@cast("float8_e4m3")
def _float8_e4m3(x: Array) -> Array:
    return _narrow(jnp.clip(x, -448.0, 448.0), 3, 2.0**-6)


@cast("float8_e5m2")
def _float8_e5m2(x: Array) -> Array:
    return _narrow(jnp.clip(x, -57344.0, 57344.0), 2, 2.0**-14)


@cast("uint32")
def _uint32(rows: Array) -> Array:
    low, high = _range(rows)
    scale = jnp.maximum(_divide(high - low, 2.0**32), _SMALLEST)
    steps = jnp.clip(jnp.round(_divide(rows - low, scale)), 0.0, 2.0**32)
    return _rounded(steps * scale) + low


@cast("int32")
def _int32(rows: Array) -> Array:  # see quant.casts for what is wrong with it, and kept
    low, high = _range(rows)
    scale = _divide(high - low, -(2.0**32))
    zero_point = _divide(low, scale) - 2.0**31
    steps = jnp.minimum(jnp.round(_divide(rows, scale)) + zero_point, 2.0**31)
    steps = jnp.where(steps <= -(2.0**31), 2.0**31, steps)
    return jnp.where(scale == 0, rows, (steps - zero_point) * scale)


@cast("boolean")
def _boolean(rows: Array) -> Array:
    low, high = _range(rows)
    middle = (rows.shape[1] - 1) // 2
    median = jnp.sort(rows, axis=1)[:, middle : middle + 1]
    above = rows > median
    other = jnp.where(above, low, high)  # torch multiplies it by zero: what is infinite becomes NaN
    return jnp.where(jnp.isfinite(other), jnp.where(above, high, low), jnp.nan)


@cast("int8")
def _int8(rows: Array) -> Array:
    return _symmetric(rows, 127.0)


@cast("int4")
def _int4(rows: Array) -> Array:
    return _symmetric(rows, 7.0)


def _symmetric(rows: Array, largest: float) -> Array:
    _, scale = _range(jnp.abs(rows))
    scale = jnp.maximum(_divide(scale, largest), _SMALLEST)
    return jnp.round(_divide(rows, scale)) * scale


def _range(rows: Array) -> tuple[Array, Array]:
    """Return the smallest and the largest value of each row; both NaN where one value is."""
    low, high = (reduce(rows, axis=1, keepdims=True) for reduce in (jnp.min, jnp.max))
    broken = jnp.isnan(rows).any(axis=1, keepdims=True)
    return jnp.where(broken, jnp.nan, low), jnp.where(broken, jnp.nan, high)


def _divide(values: Array, by: Array | float) -> Array:
    """Divide; by a number for all or for a row, XLA would multiply by the reciprocal, which rounds otherwise."""
    each = jnp.broadcast_to(jnp.asarray(by, jnp.float32), values.shape)
    return values / lax.optimization_barrier(each)
