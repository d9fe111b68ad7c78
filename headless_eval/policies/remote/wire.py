"""Messages of openpi's websocket protocol: msgpack, with NumPy arrays as maps of bytes, dtype and shape.

The format is that of ``msgpack_numpy`` in the package openpi-client 0.1.2. Reading a message runs none of its content.
"""

from typing import Any

import msgspec
import numpy as np

LARGEST = 1 << 28
"""The size of a message in bytes beyond which it is refused."""

_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"
_KINDS = "biufSU"  # booleans, integers, floats, bytes, text: what a message may hold


class BadMessage(ValueError):
    """A message is not msgpack, or an array in it is not as it says."""


def pack(message: Any) -> bytes:
    """Return a message as bytes: dicts, lists, texts, numbers, and NumPy arrays and scalars among them.

    Raises:
        BadMessage: a value is of another type, or an array holds neither numbers nor text.
    """
    try:
        return _ENCODER.encode(message)
    except (TypeError, OverflowError) as error:
        raise BadMessage(f"the message cannot be sent: {error}") from None


def unpack(content: bytes | str) -> Any:
    """Return the message that bytes hold; arrays are copies, which may be written to.

    Raises:
        BadMessage: the bytes are not valid msgpack, or an array's dtype, shape and bytes do not fit each other.
    """
    if isinstance(content, str):
        raise BadMessage("the message is text, where bytes of msgpack were expected")
    try:
        return _with_arrays(msgspec.msgpack.decode(content))
    except msgspec.DecodeError as error:
        raise BadMessage(f"the message is not encoded as msgpack: {error}") from None
    except RecursionError:
        raise BadMessage("the message has too many lists within each other") from None
    except (KeyError, TypeError, ValueError) as error:
        raise BadMessage(f"an array in the message is damaged ({type(error).__name__}: {error})") from None


def plain(value: Any, most: int = 64) -> Any:
    """Return a message in JSON types, for records: arrays as lists, or as their dtype and shape if they are large.

    Args:
        value: the message.
        most: the largest number of elements of an array that is listed.
    """
    if isinstance(value, dict):
        return {key if isinstance(key, str) else repr(key): plain(one, most) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, most) for one in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist()) if value.size <= most else f"{value.dtype} {list(value.shape)}"
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):  # JSON knows neither NaN nor infinity
        return value if np.isfinite(value) else repr(value)
    return f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)


def _pack_array(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in _KINDS:
        raise TypeError(f"an array of {value.dtype}")
    if isinstance(value, np.ndarray):
        shape = list(value.shape)
        return {_ARRAY: True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": shape}
    if isinstance(value, np.float64):  # a Python float, too, and sent as one
        return float(value)
    if isinstance(value, np.generic):
        return {_SCALAR: True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a value of {type(value).__name__}")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_pack_array)


def _with_arrays(value: Any) -> Any:
    """Return a message with its arrays in the place of the maps that stand for them."""
    if isinstance(value, list):
        return [_with_arrays(one) for one in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        array = np.frombuffer(value[b"data"], _dtype(value[b"dtype"]))
        return array.reshape(value[b"shape"]).copy()
    if _SCALAR in value:
        return _dtype(value[b"dtype"]).type(value[b"data"])
    return {key: _with_arrays(one) for key, one in value.items()}


def _dtype(text: Any) -> np.dtype:
    dtype = np.dtype(text)
    if dtype.kind not in _KINDS or not isinstance(text, str):
        raise TypeError(f"dtype {text!r}")
    return dtype
