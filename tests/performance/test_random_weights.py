"""Random weights repeat, and everything depends on them."""

import numpy as np
import torch
from performance_cases import CPU, random_model, tiny

from headless_eval.performance.workload import Workload, random_inputs


def test_random_weights_are_the_same_in_every_type_and_give_actions_that_depend_on_everything():
    config = tiny(pi05=True)
    model, half = (random_model(config, CPU, dtype) for dtype in (torch.float32, torch.bfloat16))
    for one, other in zip(model.parameters(), half.parameters(), strict=True):
        assert torch.equal(one.to(torch.bfloat16), other)
    inputs = random_inputs(config.model, Workload(2, 2, 16))
    first = random_inputs(config.model, Workload(1, 2, 16))
    assert np.array_equal(inputs.rows(0, 1).noise, first.noise)
    assert np.array_equal(inputs.images[1][:1], first.images[1])
    given = inputs.arguments(CPU)
    actions = model.sample_actions(*given)
    dark = model.sample_actions(*given._replace(images=[0 * image for image in given.images]))
    assert (actions - dark).abs().max() > 1e-3
