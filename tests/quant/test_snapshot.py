import pytest
import torch
from quant_cases import ToyModel, assert_same_state, same_bits, snapshot
from torch import nn

from headless_eval.quant.snapshot import Snapshot


def in_place(model):
    with torch.no_grad():
        model.head.weight.mul_(0.5)
        model.offset.add_(1)
        model.query.copy_(torch.full_like(model.query, float("nan")))


def other_data(model):
    model.head.weight.data = model.head.weight.data.to(torch.bfloat16)
    model.query.data = torch.zeros(3)


def other_parameters(model):
    model.blocks[0].up.weight = nn.Parameter(torch.zeros(1, 1), requires_grad=False)
    model.blocks[1].down.bias = nn.Parameter(torch.zeros(16))
    del model.unused


def other_modules(model):
    model.blocks[0].up = nn.Sequential(model.blocks[0].up, nn.Identity())
    model.blocks.append(nn.Linear(2, 2))
    model.register_buffer("scale", torch.ones(2))
    model.blocks[0].norm.__class__ = nn.Identity


def hooks_and_attributes(model):
    model.head.register_forward_hook(lambda module, args, output: 2 * output)
    model.head.forward = lambda x: x
    model.head.bits = 4
    model.requires_grad_(False)
    model.train()


def parametrized(model):
    nn.utils.parametrize.register_parametrization(model.unused, "weight", nn.ReLU())


CHANGES = [in_place, other_data, other_parameters, other_modules, hooks_and_attributes, parametrized]


@pytest.mark.parametrize("change", CHANGES)
def test_everything_comes_back(change):
    model = ToyModel().eval()
    model.offset[0] = -0.0
    images, tokens = torch.randn(2, 3, 8, 8), torch.randint(0, 32, (2, 5))
    state, names = snapshot(model), [name for name, _ in model.named_modules()]
    parameters = dict(model.named_parameters(remove_duplicate=False))
    then = model(images, tokens)
    taken = Snapshot(model)
    assert not taken.changed(model)
    assert not taken.differs(ignoring="")
    change(model)
    assert taken.changed(model) or taken.differs(ignoring="")
    taken.restore()
    assert_same_state(model, state)
    assert [name for name, _ in model.named_modules()] == names
    now = dict(model.named_parameters(remove_duplicate=False))
    assert all(now[name] is parameter and parameter.requires_grad for name, parameter in parameters.items())
    assert not model.training
    assert same_bits(model(images, tokens).detach(), then.detach())
    assert not taken.differs(ignoring="")


def test_weights_that_were_loaded_in_inference_mode_come_back():
    with torch.inference_mode():
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).requires_grad_(False)
    state = snapshot(model)
    taken = Snapshot(model)
    with torch.inference_mode():
        model[0].weight.zero_()
        model[1].weight.data = torch.zeros(2)
    taken.restore()
    assert_same_state(model, state)


def test_what_changed_is_named():
    model = ToyModel()
    taken = Snapshot(model)
    in_place(model)
    assert {name for name, _ in taken.changed(model)} == {"embed.weight", "head.weight", "query"}
    state = dict(taken.state())
    taken.restore()
    assert same_bits(state["query"], model.query.detach())


def test_copies_of_weights_that_nothing_can_change_are_dropped():
    model = ToyModel()
    taken = Snapshot(model)
    before = taken.num_bytes
    weight = model.unused.weight
    model.unused.weight = nn.Parameter(torch.zeros(16, 16))
    taken.forget_unreachable(model)
    assert taken.num_bytes == before - weight.nbytes
    assert same_bits(dict(taken.state())["unused.weight"], weight.detach())
    taken.restore()
    assert model.unused.weight is weight
