"""Packed weights on disk: quantized layers as safetensors files, named by a hash of all that they depend on."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from headless_eval.errors import UserError
from headless_eval.quant.bases import Basis
from headless_eval.quant.calibration import Calibration
from headless_eval.quant.hashing import add_tensor
from headless_eval.quant.integers import PackedWeight
from headless_eval.quant.linears import InputQuantizer, LinearInScope, OutputRotation, QuantizedLinear
from headless_eval.quant.methods import Bits, Method
from headless_eval.shared.files import replacing, try_folder
from headless_eval.shared.untrusted import convert, parse_json

_FORMAT = "headless-eval packed weights 1"
_log = logging.getLogger(__name__)


def cached(
    folder: Path,
    linears: Sequence[LinearInScope],
    method: Method,
    calibration: Calibration | None,
    solve: Callable[[], dict[str, QuantizedLinear]],
) -> dict[str, QuantizedLinear]:
    """Return quantized layers from the folder; where it does not have them, those of ``solve``, which it gets.

    The file's name has the hash of the weights, the bits, the method and the calibration. A file that cannot be
    read is made anew.

    Raises:
        UserError: the folder cannot be written.
    """
    path = folder / f"{method.name}-{_key(linears, method, calibration)[:16]}.safetensors"
    if path.is_file():
        try:
            return _read(path, linears)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            _log.warning("%s cannot be read (%s); it is made anew", path, error)
    layers = solve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, layers)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return layers


def check_packdir(folder: Path) -> None:
    """Refuse a folder that cannot be written, before layers are solved at length.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        try_folder(folder)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write packed weights to {folder}: {error.strerror}; name another folder with --packdir"
    )


def _key(linears: Sequence[LinearInScope], method: Method, calibration: Calibration | None) -> str:
    inputs = calibration.sha256() if calibration is not None and method.needs_calibration else None
    digest = hashlib.sha256(f"{_FORMAT} {method!r} {inputs}\n".encode())
    for linear in linears:
        weight = linear.module.weight
        add_tensor(digest, f"{linear.name} {linear.bits} {weight.dtype}", weight)
    return digest.hexdigest()


def _write(path: Path, layers: dict[str, QuantizedLinear]) -> None:
    tensors: dict[str, Tensor] = {}
    facts = {}
    for name, layer in layers.items():
        parts = {f"basis.{part}": tensor for part, tensor in vars(layer.inputs.basis).items()}
        parts["largest"] = layer.inputs.largest
        parts["output"] = layer.output.axes if layer.output else None
        packed = layer.packed
        if packed is not None:
            parts |= {"codes": packed.codes, "scales": packed.scales}
            facts[name] = {"columns": packed.columns, "group": packed.group, "bits": packed.bits}
        tensors |= {
            f"{name}:{part}": tensor.cpu().contiguous()
            for part, tensor in parts.items()
            if tensor is not None
        }
    with replacing(path, "wb") as file:
        file.write(save(tensors, metadata={"format": _FORMAT, "packed": json.dumps(facts)}))


def _read(path: Path, linears: Sequence[LinearInScope]) -> dict[str, QuantizedLinear]:
    with safe_open(path, framework="pt", device="cpu") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != _FORMAT:
            raise ValueError("it is of another format")
        facts = convert(parse_json(metadata["packed"]), dict[str, dict[str, int]])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return {linear.name: _layer(linear, tensors, facts.get(linear.name)) for linear in linears}


def _layer(
    linear: LinearInScope, tensors: dict[str, Tensor], facts: dict[str, int] | None
) -> QuantizedLinear:
    device = linear.module.weight.device

    def part(name: str) -> Tensor | None:
        tensor = tensors.get(f"{linear.name}:{name}")
        return None if tensor is None else tensor.to(device)

    basis = Basis(**{field.name: part(f"basis.{field.name}") for field in dataclasses.fields(Basis)})
    bits: Bits = linear.bits
    packed = None
    if facts is not None:
        codes, scales = (tensors[f"{linear.name}:{name}"].to(device) for name in ("codes", "scales"))
        packed = PackedWeight(codes, scales, facts["columns"], facts["group"], facts["bits"])
    axes = part("output")
    output = None if axes is None else OutputRotation(axes)
    return QuantizedLinear(bits, InputQuantizer(basis, bits.activations, part("largest")), packed, output)
