"""``quantize_``: quantization by simulation. Values are rounded to those of a data type, and stay float32."""

import time
from pathlib import Path

from torch import nn

from headless_eval.errors import UserError
from headless_eval.quant.activations import leaves_of
from headless_eval.quant.calibration import Calibration
from headless_eval.quant.change_handle import ChangeHandle
from headless_eval.quant.handle import Handle, is_quantized
from headless_eval.quant.linears import linears_in_scope, top_level_names
from headless_eval.quant.methods import Method
from headless_eval.quant.packs import cached
from headless_eval.quant.precision import Precision
from headless_eval.quant.solve import solve
from headless_eval.quant.weights import weights_of


def quantize_(
    model: nn.Module,
    config: Precision | Method,
    *,
    calibration: Calibration | None = None,
    packdir: Path | None = None,
) -> Handle:
    """Put a model into a precision, in place.

    *Weights* are all floating-point parameters in scope, biases and norms included, as in the published
    benchmark; a parameter belongs to the module that holds it, and one under several names is in scope if one
    of them is. Buffers stay. Each is quantized as a whole, except that int8 and int4 give every index of the
    first axis (the output channel) its own scale where there are two axes or more.

    *Activations* are the outputs of all leaf modules in scope: those without children. Tensors are found in
    tuples, lists, mappings and dataclasses; integers pass through. Each index of the first axis, a sample of
    the batch, has its own scale, so that a result does not depend on what else is in the batch; an output
    with one axis is quantized as a whole. int8 and int4 give every token its own: the last axis is reduced
    (for convolutions the channels).

    Tensors that are not float32 are quantized in float32 and cast back.

    *Methods* change the linear layers that ``linears_in_scope`` returns: their weights in place, their inputs (and
    outputs, where output channels are rotated) by hooks. A token's scale is its own, so that a result does not
    depend on what else is in the batch.

    *Changes*, functions that users name and torchao's configurations, do with the model what they want; a snapshot
    of all its modules and tensors brings it back.

    Args:
        model: any module, on any device.
        config: a precision (float32 changes nothing), or a method for all layers.
        calibration: recorded inputs of the linear layers, for methods that need them.
        packdir: folder in which a method's quantized layers are kept, to be read the next time; None: not kept.

    Returns:
        The handle that restores the model.

    Raises:
        UserError: nothing in the model matches the scope; the method needs a calibration and gets none, or another
            model's; ``packdir`` cannot be written; a change fails or changes nothing.
        RuntimeError: the model or a part of it is in a precision already.
    """
    if is_quantized(model):
        raise RuntimeError("the model is in a precision already: call restore() on its handle first")
    begin = time.perf_counter()
    precision = config if isinstance(config, Precision) else Precision.of(config)
    if precision.change is not None:
        changed = ChangeHandle(model, precision, precision.change)
        changed.seconds = time.perf_counter() - begin
        return changed
    if precision.method is not None:
        handle = _apply(model, precision, precision.method, calibration, packdir)
        handle.seconds = time.perf_counter() - begin
        return handle
    scope = precision.scope
    parameters = weights_of(model, scope) if precision.weights else []
    leaves = []
    if precision.activations:
        for names, module in leaves_of(model):
            matching = [name for name in names if scope.matches(name)]
            leaves += [(matching[0], module)] if matching else []
    for needed, found, what in (
        (precision.weights, parameters, "floating-point parameter"),
        (precision.activations, leaves, "module without children"),
    ):
        if needed and not found:
            raise UserError(
                f"scope '{scope}' matches no {what} of the {type(model).__name__}: "
                f"widen it; names begin with {top_level_names(model)}"
            )
    handle = Handle(model, precision)
    try:
        handle._quantize_weights(parameters)
        handle._hook_activations(leaves)
    except BaseException:
        handle.restore()
        raise
    handle.seconds = time.perf_counter() - begin
    return handle


def _apply(
    model: nn.Module,
    precision: Precision,
    method: Method,
    calibration: Calibration | None,
    packdir: Path | None,
) -> Handle:
    chosen = linears_in_scope(model, precision)
    if packdir is None:
        layers = solve(chosen, method, calibration)
    else:
        layers = cached(packdir, chosen, method, calibration, lambda: solve(chosen, method, calibration))
    handle = Handle(model, precision)
    try:
        handle._install(chosen, layers)
    except BaseException:
        handle.restore()
        raise
    return handle
