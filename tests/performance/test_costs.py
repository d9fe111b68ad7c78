"""Operations and bytes are those that are known, for any model."""

import pytest
import torch
from performance_cases import CPU, family_of, random_model, tiny
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from headless_eval.performance.costs import STEP, Speeds, count, limit_of
from headless_eval.performance.measured_model import costs_of
from headless_eval.performance.workload import Workload, random_inputs
from headless_eval.policies.pi0.config import CONFIGS


@pytest.mark.parametrize("pi05", [False, True])
@pytest.mark.parametrize("workload", [Workload(1, 2, 16), Workload(3, 1, 5), Workload(2, 0, 24)], ids=str)
def test_operations_are_those_that_torch_counts_module_by_module(pi05, workload):
    config = tiny(pi05)
    model = random_model(config, CPU, torch.float32)
    inputs = random_inputs(config.model, workload).arguments(CPU)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.sample_actions(*inputs)
    steps = config.model.num_steps
    costs = {
        cost.module: cost.flops * (steps if cost.part == STEP else 1)
        for cost in costs_of(family_of(config), config, workload)
    }
    assert sum(costs.values()) == counter.get_total_flops()
    assert len(costs) == len(costs_of(family_of(config), config, workload))
    # torch names modules after their root's class, which here are the parts that are called.
    theirs = {name: sum(of.values()) for name, of in counter.get_flop_counts().items()}
    for ours, root in (("vision", "Siglip"), ("language", "LanguageModel"), ("expert", "ActionExpert")):
        inside = sum(
            flops for name, flops in costs.items() if name.startswith(f"{ours}.") and "norm" not in name
        )
        if root in theirs:
            assert inside == theirs[root]


def test_full_size_counts_and_limits_are_those_known():
    config = CONFIGS["pi05_droid"]
    costs = costs_of(family_of(config), config, Workload(1, 2, 64))
    of_step = [cost for cost in costs if cost.part == STEP]
    assert 2.5e12 < sum(cost.flops for cost in costs if cost.part == "prefix") < 2.7e12
    assert 0.6e9 < 2 * sum(cost.weights for cost in of_step) < 0.63e9
    limit = limit_of(costs, Speeds(780e12, 4.2e12), 10, 2, 2)
    assert limit.total_ms == pytest.approx(limit.prefix_ms + 10 * limit.step_ms)
    assert 3.3 < limit.prefix_ms < 3.9
    assert 0.14 < limit.step_ms < 0.16


def test_operations_of_any_model_are_counted():
    """Of another family, which names no parts: all of it is needed once."""
    with torch.device("meta"):
        model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.GELU(), torch.nn.Linear(5, 2, bias=False))
        x = torch.empty(7, 3)
    first, last = count(model, lambda: model(x))
    assert (first.module, first.part, first.flops) == ("0", "prefix", 2 * 7 * 3 * 5)
    assert (first.weights, first.values) == (3 * 5 + 5, 7 * (3 + 5))
    assert (last.module, last.flops, last.weights) == ("2", 2 * 7 * 5 * 2, 10)
