import pytest
import torch
from quant_cases import METHOD_NAMES, ToyStack, calibration_of, relative, stack_inputs
from torch import nn

from headless_eval.errors import UserError
from headless_eval.quant import DuQuant, Precision, Scope, quantize_
from headless_eval.quant.linears import linears_in_scope


def test_effective_weights_are_those_that_are_computed_with():
    model, x = ToyStack(), stack_inputs()
    weight, bias = model.blocks[0].up.weight.clone(), model.blocks[0].up.bias.clone()
    method = DuQuant(4, 16, row_rotation=True)
    seen = torch.randn(7, 24, generator=torch.Generator().manual_seed(5))
    with quantize_(model, method, calibration=calibration_of(model, x)) as handle:
        now = handle.layers["blocks.0.up"].effective_weight(weight)
        torch.testing.assert_close(model.blocks[0].up(seen), seen @ now.t() + bias, rtol=1e-4, atol=1e-5)
    assert 0.02 < relative(now, weight) < 0.2


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_token_does_not_depend_on_the_others(name):
    model = ToyStack()
    calibration = calibration_of(model, stack_inputs())
    x = torch.randn(9, 24, generator=torch.Generator().manual_seed(3)) * torch.logspace(-2, 2, 9)[:, None]
    with quantize_(model, Precision(name), calibration=calibration) as handle:
        change = handle.layers["blocks.1.up"].inputs
        together = change(x[None])[0]
        for row in range(9):
            torch.testing.assert_close(
                change(x[row]), together[row], rtol=1e-5, atol=1e-6 * float(x[row].abs().max())
            )


def test_which_layers():
    model = ToyStack()
    model.also_called = lambda name: name.replace("blocks", "their.layers")

    def chosen(name, **scope):
        return {
            place.name: str(place.bits)
            for place in linears_in_scope(model, Precision(name, scope=Scope(**scope)))
        }

    assert set(chosen("rtn_w4a8")) == {f"blocks.{i}.{leaf}" for i in range(2) for leaf in ("up", "down")}
    assert set(chosen("rtn_w4a8_all")) == set(chosen("rtn_w4a8")) | {"embed", "head"}
    assert set(chosen("rtn_w4a8", include=r"^their\.layers\.1")) == {"blocks.1.up", "blocks.1.down"}
    assert set(chosen("rtn_w4a8", exclude="up")) == {"blocks.0.down", "blocks.1.down"}
    assert chosen("rtn_w4a8", bits=(("up", "w8"), (r"their.layers.1.down", "w16a16"))) == {
        "blocks.0.up": "w8a8",
        "blocks.0.down": "w4a8",
        "blocks.1.up": "w8a8",
    }
    with pytest.raises(UserError, match="matches no linear layer within a stack"):
        chosen("rtn_w4a8", include="embed")
    assert [
        place.name for place in linears_in_scope(nn.Sequential(nn.Linear(3, 3)), Precision("rtn_w4a8"))
    ] == ["0"]
