import os
import pickle
import zipfile
from collections import OrderedDict

import pytest
import torch

from headless_eval.checkpoints.torch_file import TorchFile
from headless_eval.errors import UserError

TENSORS = {
    "half": torch.arange(6, dtype=torch.float16).reshape(2, 3),
    "float": torch.randn(4),
    "narrow": torch.randn(3, 2).bfloat16(),
    "empty": torch.zeros(0, 3),
    "scalar": torch.tensor(2.5),
}


def _save(path, content):
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrap", [dict, OrderedDict])
def test_tensors_are_read_one_by_one(tmp_path, wrap):
    content = {"model": wrap(TENSORS), "step": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(5)}}}}
    file = TorchFile(_save(tmp_path / "a.pt", content))
    assert file.shapes == {name: tuple(value.shape) for name, value in TENSORS.items()}
    for name, value in TENSORS.items():
        read = file.source(name).read()
        assert read.dtype == value.dtype
        assert torch.equal(read, value)


def test_parameters_and_shared_tensors(tmp_path):
    whole = torch.randn(4, 3)
    content = {"model": {"a": torch.nn.Parameter(whole), "b": whole, "rows": whole[1:3]}}
    file = TorchFile(_save(tmp_path / "a.pt", content))
    assert file.same_place("a", "b")
    assert torch.equal(file.source("rows").read(), whole[1:3])


def test_what_nobody_asks_for_is_not_read(tmp_path):
    """The bytes of other tensors may be anything: they are not looked at."""
    path = _save(
        tmp_path / "a.pt", {"model": {"a": torch.ones(3)}, "optimizer": {"b": torch.full((1000,), 7.0)}}
    )
    content = path.read_bytes()
    there = torch.full((1000,), 7.0).numpy().tobytes()
    assert content.count(there) == 1
    path.write_bytes(content.replace(there, bytes(len(there))))
    assert torch.equal(TorchFile(path).source("a").read(), torch.ones(3))


class _Runs:
    def __reduce__(self):
        return os.mkdir, ("ran",)


class _Evaluates:
    def __reduce__(self):
        return eval, ("open('ran', 'w')",)


@pytest.mark.parametrize("harm", [_Runs(), _Evaluates(), torch.nn.Linear(2, 2), torch.float32.to_complex])
def test_code_is_refused_and_not_run(tmp_path, monkeypatch, harm):
    monkeypatch.chdir(tmp_path)
    path = _save(tmp_path / "a.pt", {"model": {"a": torch.ones(3)}, "other": harm})
    with pytest.raises(UserError, match="could run code: nothing of it was executed") as raised:
        TorchFile(path)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "ran").exists()


def test_a_bare_pickle_is_refused(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps({"model": {"a": 1}}))
    with pytest.raises(UserError, match="truncated or no checkpoint"):
        TorchFile(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        TorchFile(tmp_path / "missing.pt")
    path = tmp_path / "a.pt"
    for content in (b"", b"something else", b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(UserError, match="truncated or no checkpoint"):
            TorchFile(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/readme", "no tensors")
    with pytest.raises(UserError, match="no checkpoint"):
        TorchFile(path)
    for content in ({"state": {}}, [1, 2], {"model": {}}, {"model": [torch.ones(2)]}, torch.ones(2)):
        with pytest.raises(UserError, match="holds no tensors under 'model'"):
            TorchFile(_save(path, content))


def test_truncated_files_are_refused(tmp_path):
    path = _save(tmp_path / "a.pt", {"model": {"a": torch.randn(1000)}})
    content = path.read_bytes()
    for size in (len(content) // 2, len(content) - 30):
        path.write_bytes(content[:size])
        with pytest.raises(UserError, match="truncated"):
            TorchFile(path)


def test_tensors_larger_than_their_storage_are_refused(tmp_path):
    path = _save(tmp_path / "a.pt", {"model": {"a": torch.randn(100)}})
    source = zipfile.ZipFile(path)
    names = source.namelist()
    (storage,) = (name for name in names if name.endswith("/data/0"))
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        for name in names:
            archive.writestr(name, source.read(name)[: 40 if name == storage else None])
    with pytest.raises(UserError, match="larger than what is stored"):
        TorchFile(tmp_path / "b.pt")


def test_views_that_are_no_row_of_numbers_are_refused(tmp_path):
    with pytest.raises(UserError, match="a is a view"):
        TorchFile(_save(tmp_path / "a.pt", {"model": {"a": torch.randn(3, 4).t()}}))


def test_a_description_that_is_compressed_beyond_measure_is_refused(tmp_path):
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(65 * 2**20))
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match=r"data\.pkl is larger than 64 MB"):
        TorchFile(path)
