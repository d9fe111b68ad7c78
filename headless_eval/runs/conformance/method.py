"""Conformance of quantization methods, on a small model."""

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from headless_eval.policies.checks import Check
from headless_eval.quant import Recorder, quantize_
from headless_eval.quant.methods import parse_method
from headless_eval.quant.precision import Precision
from headless_eval.runs.conformance.outcome import expect, tested

_WIDTH = 64
_ERROR = 1.0


class _Small(nn.Module):
    """Four linear layers in a stack, as the layers of a transformer are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(_WIDTH, _WIDTH) for _ in range(4)])

    def forward(self, values: Tensor) -> Tensor:
        for layer in self.layers:
            values = torch.tanh(layer(values))
        return values


def examine_method(name: str) -> Iterator[Check]:
    """Yield the result of every test of a method.

    Args:
        name: as ``--dtypes`` takes it.
    """
    precision = Precision.parse(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, inputs = _Small(), torch.randn(16, _WIDTH)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    method = precision.method
    with Recorder(model) if method is not None and method.needs_calibration else nullcontext() as recorder:
        exact = _run(model, inputs)
    calibration = None if recorder is None else recorder.calibration()
    outputs: list[Tensor] = []

    def spelling() -> str:
        if method is not None:
            again = parse_method(method.name)
            expect(again == method, f"its name {method.name!r} is read as {again and again.name!r}")
        return precision.name

    def error() -> str:
        for _ in range(2):
            with quantize_(model, precision, calibration=calibration):
                outputs.append(_run(model, inputs))
        expect(
            outputs[0].shape == exact.shape, f"outputs of {tuple(outputs[0].shape)}, not {tuple(exact.shape)}"
        )
        expect(bool(outputs[0].isfinite().all()), "outputs are not finite")
        relative = float((outputs[0] - exact).norm() / exact.norm())
        expect(
            relative < _ERROR,
            f"outputs differ by {relative:.0%} from the model's: it computes something else",
        )
        expect(relative > 0, "outputs are the model's to the bit: nothing was changed")
        return f"outputs of a small model differ by {relative:.2%}"

    def repeated() -> str:
        expect(
            len(outputs) == 2 and torch.equal(*outputs),
            "a second time outputs differ: it is not deterministic",
        )
        return "the same a second time, to the bit"

    def restored() -> str:
        now = model.state_dict()
        wrong = [key for key in before if key not in now or not torch.equal(before[key], now[key])]
        expect(
            not wrong and now.keys() == before.keys(),
            f"after restore() these differ: {', '.join(wrong) or 'names'}",
        )
        expect(torch.equal(_run(model, inputs), exact), "after restore() outputs differ")
        return "restore() brings back weights and outputs, to the bit"

    for what, test in {
        "name": spelling,
        "outputs": error,
        "determinism": repeated,
        "restoration": restored,
    }.items():
        yield tested(what, test)


def _run(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return model(inputs).clone()
