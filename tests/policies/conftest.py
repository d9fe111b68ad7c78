import pytest
import torch

from headless_eval.policies.paligemma.tokenizer import Tokenizer, train_tokenizer


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    train_tokenizer(["put the cube in the bowl", "put the can in the mug"], path, 300)
    return Tokenizer(path)
