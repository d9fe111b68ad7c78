"""From a method and a calibration to quantized linear layers: one function a method."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from headless_eval.errors import UserError
from headless_eval.quant.bases import (
    Basis,
    divisor,
    principal_axes,
    search_rotation,
    smoothing,
    zigzag,
)
from headless_eval.quant.calibration import Calibration, LayerInputs
from headless_eval.quant.integers import PackedWeight, round_tokens
from headless_eval.quant.linears import InputQuantizer, OutputRotation, Place, QuantizedLinear
from headless_eval.quant.methods import UNQUANTIZED, Bits, DuQuant, Method, RoundToNearest, SmoothQuant

_log = logging.getLogger(__name__)
_PERCENTILES = (99.0, 99.5, 99.9, 99.99)


def solve(
    places: Sequence[Place], method: Method, calibration: Calibration | None
) -> dict[str, QuantizedLinear]:
    """Quantize linear layers, each from its weight at float32 and what was seen of its inputs.

    Raises:
        UserError: the method needs a calibration, and there is none, or none of a layer.
    """
    if method.needs_calibration and calibration is None:
        raise UserError(
            f"{method.name} needs a calibration: record one with headless-eval calibrate and pass it as "
            "--calibration; in Python record_inputs records one, for policy.calibration or quantize_(calibration=...)"
        )
    solver: Callable[[Tensor, Bits, Any, Any], QuantizedLinear] = _SOLVERS[type(method)]
    found = {}
    with torch.inference_mode(False), torch.no_grad():
        for place in places:
            weight = place.module.weight.detach().to(torch.float32)
            seen = None
            if method.needs_calibration and calibration is not None:
                seen = _inputs(place, calibration, weight.device)
            found[place.name] = solver(weight, place.bits, method, seen)
            if _log.isEnabledFor(logging.INFO):
                error = (found[place.name].effective_weight(weight) - weight).norm() / weight.norm()
                _log.info("%s: %s, relative error of the weight %.4f", place.name, place.bits, float(error))
    return found


def _inputs(place: Place, calibration: Calibration, device: torch.device) -> LayerInputs:
    inputs = calibration.layers.get(place.name)
    if inputs is None:
        raise UserError(
            f"the calibration saw no input of {place.name}: leave it out with --exclude (the scope's exclude), or "
            "calibrate on episodes that use it"
        )
    if inputs.largest.shape != (place.module.in_features,):
        raise UserError(
            f"the calibration of {place.name} has {len(inputs.largest)} channels, the layer has "
            f"{place.module.in_features}: it is another model's"
        )
    return LayerInputs(inputs.largest.to(device), inputs.tokens.to(device, torch.float32))


def _round_to_nearest(
    weight: Tensor, bits: Bits, method: RoundToNearest, seen: LayerInputs | None
) -> QuantizedLinear:
    packed = _packed(weight, bits, method.group_size, method.clip_weights)
    return QuantizedLinear(bits, InputQuantizer(Basis(), bits.activations), packed)


def _smoothquant(weight: Tensor, bits: Bits, method: SmoothQuant, seen: LayerInputs) -> QuantizedLinear:
    columns = weight.abs().amax(dim=0)
    basis = Basis(divide=smoothing(seen.largest, columns, method.alpha, 1 - method.alpha))
    packed = _packed(basis.of_weight(weight), bits)
    return QuantizedLinear(bits, InputQuantizer(basis, bits.activations), packed)


def _duquant(weight: Tensor, bits: Bits, method: DuQuant, seen: LayerInputs) -> QuantizedLinear:
    divide = None
    x, largest = seen.tokens, seen.largest
    if method.smooth:
        divide = smoothing(largest, weight.abs().amax(dim=0), method.smooth, method.smooth)
        x = x / divide
    size = divisor(weight.shape[1], method.block)
    first = search_rotation(x, size, method.steps)
    permutation = second = None
    if method.permute:
        x = Basis(first=first).of_input(x)
        permutation = zigzag(x.abs().amax(dim=0), size)
        second = search_rotation(x[:, permutation], size, method.steps)
    basis = Basis(divide, first, permutation, second)
    turned = basis.of_weight(weight)
    output = None
    if method.row_rotation:
        output = OutputRotation(principal_axes(turned, divisor(len(weight), method.block)))
        turned = output.of_weight(turned)
    clip = _clip(basis.of_input(seen.tokens), bits.activations, method.percentile)
    packed = _packed(turned, bits, clip=method.clip_weights)
    return QuantizedLinear(bits, InputQuantizer(basis, bits.activations, clip), packed, output)


def _clip(x: Tensor, bits: int, percentile: float | None) -> Tensor | None:
    """Return the magnitude () beyond which tokens are clipped; None where not clipping has the least error."""
    if bits == UNQUANTIZED:
        return None
    magnitudes = x.abs().flatten().sort().values
    if percentile is not None:
        return magnitudes[round((len(magnitudes) - 1) * percentile / 100)]
    best, least = None, (round_tokens(x, bits) - x).square().sum()
    for candidate in _PERCENTILES:
        limit = magnitudes[round((len(magnitudes) - 1) * candidate / 100)]
        error = (round_tokens(x, bits, limit) - x).square().sum()
        if error < least:
            best, least = limit, error
    return best


def _packed(weight: Tensor, bits: Bits, group: int | None = None, clip: bool = False) -> PackedWeight | None:
    return None if bits.weights == UNQUANTIZED else PackedWeight.round(weight, bits.weights, group, clip)


_SOLVERS: dict[type[Method], Callable[..., QuantizedLinear]] = {
    RoundToNearest: _round_to_nearest,
    SmoothQuant: _smoothquant,
    DuQuant: _duquant,
}
