"""Solving linear layers by a method: from weights at float32 and a calibration to quantized layers."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from headless_eval.errors import UserError
from headless_eval.quant.bases import Basis
from headless_eval.quant.calibration import Calibration, LayerInputs
from headless_eval.quant.integers import PackedWeight
from headless_eval.quant.linears import InputQuantizer, LinearInScope, OutputRotation, QuantizedLinear
from headless_eval.quant.methods import UNQUANTIZED, Bits, Method

_log = logging.getLogger(__name__)


def solve(
    linears: Sequence[LinearInScope], method: Method, calibration: Calibration | None
) -> dict[str, QuantizedLinear]:
    """Quantize linear layers, each from its weight at float32 and the inputs that the calibration saw.

    Raises:
        UserError: the method needs a calibration and gets none, or the calibration did not see a layer or is
            another model's.
    """
    if method.needs_calibration and calibration is None:
        raise UserError(
            f"{method.name} needs a calibration: record one with headless-eval calibrate and pass it as "
            "--calibration; in Python record_inputs records one, for policy.calibration or quantize_(calibration=...)"
        )
    solved = {}
    with torch.inference_mode(False), torch.no_grad():
        for linear in linears:
            weight = linear.module.weight.detach().to(torch.float32)
            inputs = None
            if method.needs_calibration and calibration is not None:
                inputs = _inputs(linear, calibration, weight.device)
            solved[linear.name] = method.solve(weight, linear.bits, inputs)
            if _log.isEnabledFor(logging.INFO):
                error = (solved[linear.name].effective_weight(weight) - weight).norm() / weight.norm()
                _log.info("%s: %s, relative error of the weight %.4f", linear.name, linear.bits, float(error))
    return solved


def quantized_linear(
    weight: Tensor,
    bits: Bits,
    basis: Basis,
    *,
    limit: Tensor | None = None,
    group: int | None = None,
    clip: bool = False,
    output: OutputRotation | None = None,
) -> QuantizedLinear:
    """Round a layer's weight, and return the layer.

    Args:
        weight: float32 (out, in), in the new basis, and with rotated output channels where ``output`` turns them back.
        bits: of the layer.
        basis: of the input channels.
        limit: what a token's scale reaches at most, float32 (); None: the token's largest value.
        group: how many weights of a row share a scale; None: all.
        clip: choose each weight scale so that the squared error is least.
        output: turns the outputs back.
    """
    packed = None
    if bits.weights != UNQUANTIZED:
        packed = PackedWeight.round(weight, bits.weights, group, clip)
    return QuantizedLinear(bits, InputQuantizer(basis, bits.activations, limit), packed, output)


def _inputs(linear: LinearInScope, calibration: Calibration, device: torch.device) -> LayerInputs:
    inputs = calibration.layers.get(linear.name)
    if inputs is None:
        raise UserError(
            f"the calibration saw no input of {linear.name}: leave it out with --exclude (the scope's exclude), or "
            "calibrate on episodes that use it"
        )
    if inputs.largest.shape != (linear.module.in_features,):
        raise UserError(
            f"the calibration of {linear.name} has {len(inputs.largest)} channels, the layer has "
            f"{linear.module.in_features}: it is another model's"
        )
    return LayerInputs(inputs.largest.to(device), inputs.tokens.to(device, torch.float32))
