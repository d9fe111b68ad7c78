import pytest
from quant_cases import METHOD_NAMES, ToyStack, calibration_of, relative, same_bits, stack_inputs, unrounded


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_without_rounding_a_method_computes_the_same(name):
    model, x = ToyStack(outliers=30.0), stack_inputs()
    expected = model(stack_inputs(seed=2))
    with unrounded(model, name, calibration_of(model, x)):
        assert relative(model(stack_inputs(seed=2)), expected) < 1e-5
    assert same_bits(model(stack_inputs(seed=2)), expected)
