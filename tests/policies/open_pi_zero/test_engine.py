import pytest
import torch
from open_pi_zero_cases import CPU, REFERENCE, load_case, relative_error

from headless_eval.errors import UserError
from headless_eval.policies.open_pi_zero.engine import CompiledEngine, EagerEngine, make_engine
from headless_eval.quant import quantize_
from headless_eval.quant.precision import Precision


@pytest.mark.slow
def test_the_compiled_engine_computes_the_reference():
    case = load_case("bridge")
    model, of = case.model(), case.inputs
    engine = CompiledEngine(model)
    given = ([of["images"]], [], of["tokens"], of["token_mask"], of["state"], of["noise"])
    assert relative_error(engine.sample_actions(*given), case.outputs["actions"]) < 1e-5
    three = engine.sample_actions(*given, num_steps=3)
    assert relative_error(three, model.sample_actions(*given, num_steps=3)) < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "int8_weights_only", "bfloat16_weights_only"])
def test_the_compiled_engine_on_a_gpu(precision):
    case = load_case("bridge")
    model, of = case.model().cuda(), case.inputs
    handle = None if precision == "float32" else quantize_(model, Precision.parse(precision))
    engine = make_engine("auto", model, handle=handle)
    assert engine.name == "compiled"
    given = ([of["images"]], [], of["tokens"], of["token_mask"], of["state"], of["noise"])
    assert relative_error(engine.sample_actions(*given).cpu(), model.sample_actions(*given).cpu()) < 1e-4


def test_what_cannot_be_computed_is_refused():
    if not REFERENCE.is_dir():
        pytest.skip("no golden data")
    model = load_case("bridge").model().to(CPU)
    assert isinstance(make_engine("auto", model), EagerEngine)
    for name, execution, words in (
        ("compiled", "simulated", "CUDA"),
        ("fused", "simulated", "does not compute this family"),
        ("auto", "native", "no native execution"),
    ):
        with pytest.raises(UserError, match=words):
            make_engine(name, model, execution=execution)
    assert torch.is_tensor(model.action_in_proj.weight)
