import pytest
import torch
from pi0_cases import SMALL, SMALL_PI05, Golden, load_golden, randomised, small_config, small_stats

from headless_eval.policies.paligemma.tokenizer import Tokenizer, train_tokenizer
from headless_eval.policies.pi0.model import Pi0
from headless_eval.policies.pi0.policy import Pi0Policy


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["pi0_droid", "pi0_libero", "pi05_droid", "pi05_libero"])
def golden(request) -> Golden:
    return load_golden("openpi_pytorch", request.param)


@pytest.fixture(params=[SMALL, SMALL_PI05], ids=["pi0", "pi05"])
def small(request) -> Pi0:
    return randomised(request.param)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    train_tokenizer(["put the cube in the bowl", "put the can in the mug"], path, 300)
    return Tokenizer(path)


@pytest.fixture(params=[SMALL, SMALL_PI05], ids=["pi0", "pi05"])
def policy(request, tokenizer) -> Pi0Policy:
    return Pi0Policy(randomised(request.param), small_config(request.param), small_stats(), tokenizer)
