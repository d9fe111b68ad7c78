"""Initial states are read with an allow-list: no code is executed."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from headless_eval.errors import UserError
from headless_eval.sims.libero.initial_states import read_initial_states


@pytest.fixture(params=["numpy._core.multiarray", "numpy.core.multiarray"])
def states(request, tmp_path):
    """A file of initial states as LIBERO ships them, written by NumPy 2 or 1."""
    path = tmp_path / "task.pruned_init"
    content = pickle.dumps(np.arange(12.0).reshape(3, 4), protocol=2)
    assert b"numpy._core.multiarray" in content
    _write(path, content.replace(b"numpy._core.multiarray", request.param.encode()))
    return path


def _write(path, content):
    """Write what ``torch.save`` makes of an object without tensors."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")


def test_initial_states_are_read_by_an_allow_list(states):
    before = set(torch.serialization.get_safe_globals())
    np.testing.assert_array_equal(read_initial_states(states), np.arange(12.0).reshape(3, 4))
    assert set(torch.serialization.get_safe_globals()) == before


class _Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


class _System(_Malicious):
    def __reduce__(self):
        import os

        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("kind", [_Malicious, _System])
def test_a_malicious_file_of_initial_states_executes_nothing(tmp_path, kind):
    path, trace = tmp_path / "task.pruned_init", tmp_path / "executed"
    content = pickle.dumps([kind(trace)], protocol=2)
    pickle.loads(content)
    assert trace.exists()  # it would
    trace.unlink()
    for write in (lambda: _write(path, content), lambda: path.write_bytes(content)):
        write()
        with pytest.raises(UserError, match="without running code") as caught:
            read_initial_states(path)
        assert "\n" not in str(caught.value)
        assert not trace.exists()


@pytest.mark.parametrize(
    "content", [np.zeros(3), np.full((2, 3), np.nan), np.array([["a"]]), {"a": 1.0}], ids=str
)
def test_what_are_no_initial_states_is_refused(tmp_path, content):
    path = tmp_path / "task.pruned_init"
    _write(path, pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match=r"task\.pruned_init"):
        read_initial_states(path)


def test_missing_initial_states_are_named(tmp_path):
    with pytest.raises(UserError, match="hf-libero"):
        read_initial_states(tmp_path / "none.pruned_init")
