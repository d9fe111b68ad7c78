import pytest
from pi0_cases import SMALL, SMALL_PI05, Golden, load_golden, randomised, small_config, small_stats

from headless_eval.policies.pi0.model import Pi0
from headless_eval.policies.pi0.policy import Pi0Policy


@pytest.fixture(params=["pi0_droid", "pi0_libero", "pi05_droid", "pi05_libero"])
def golden(request) -> Golden:
    return load_golden("openpi_pytorch", request.param)


@pytest.fixture(params=[SMALL, SMALL_PI05], ids=["pi0", "pi05"])
def small(request) -> Pi0:
    return randomised(request.param)


@pytest.fixture(params=[SMALL, SMALL_PI05], ids=["pi0", "pi05"])
def policy(request, tokenizer) -> Pi0Policy:
    return Pi0Policy(randomised(request.param), small_config(request.param), small_stats(), tokenizer)
