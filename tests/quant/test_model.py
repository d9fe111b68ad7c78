import torch
from quant_cases import ToyModel

from headless_eval.quant import Precision
from headless_eval.quant.model import TorchModel, find_model, find_module


class Holds:
    def __init__(self, **attributes):
        vars(self).update(attributes)


def test_a_models_state_is_unquantized_at_any_precision():
    model = TorchModel(ToyModel())
    then = {label: tensor.clone() for label, tensor in model.state()}
    handle = model.enter(Precision("int4"))
    assert all(torch.equal(tensor, then[label]) for label, tensor in model.state())
    effective = dict(model.effective_parameters())
    assert not torch.equal(effective["query"], then["query torch.float32"])
    handle.restore()
    assert torch.equal(dict(model.effective_parameters())["query"], then["query torch.float32"])
    assert (model.device, model.dtypes) == ("cpu", ["float32"])
    assert model.stored_bytes == 4 * model.num_parameters


def test_all_modules_of_a_policy_are_its_model():
    one, other = torch.nn.Linear(2, 2), torch.nn.Linear(3, 3)
    assert find_module(Holds(model=one)) is one
    assert isinstance(find_module(Holds(model=one, head=other)), torch.nn.ModuleDict)
    assert find_model(Holds(number=3)) is None
