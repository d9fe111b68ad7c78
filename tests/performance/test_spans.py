"""Watching a model."""

import torch
from performance_cases import CPU, random_model, tiny

from headless_eval.performance.workload import Workload, random_inputs


def test_watching_a_model_leaves_no_trace_on_it():
    from headless_eval.performance.profile.host_clock import HostClock
    from headless_eval.performance.spans import watched

    config = tiny(pi05=True)
    model = random_model(config, CPU, torch.float32)
    given = random_inputs(config.model, Workload(1, 1, 8)).arguments(CPU)
    before = model.sample_actions(*given)
    clock = HostClock()
    with watched(model, clock):
        during = model.sample_actions(*given)
    called = len(clock.times)
    after = model.sample_actions(*given)
    assert torch.equal(before, during)
    assert torch.equal(before, after)
    assert called == len(clock.times)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert "velocity" not in vars(model)
