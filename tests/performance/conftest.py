import pytest
from performance_cases import tiny

from headless_eval.policies.pi0.config import write_config


@pytest.fixture(scope="session")
def random_flags(tmp_path_factory):
    """The flags of a model so small that everything takes a moment."""
    path = tmp_path_factory.mktemp("configs") / "tiny.toml"
    write_config(path, tiny(pi05=True))
    return ["--config-file", str(path), "--random-weights"]
