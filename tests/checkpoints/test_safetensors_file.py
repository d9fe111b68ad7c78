import pytest
import torch
from safetensors.torch import save_file

from headless_eval.checkpoints.safetensors_file import SafetensorsFile, find_weights
from headless_eval.checkpoints.stored import Stored, parameters
from headless_eval.errors import UserError

on_both = pytest.mark.parametrize(
    "device", [torch.device("cpu"), pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)]
)


@on_both
def test_a_file_gives_what_was_saved(device, tmp_path):
    tensors = {
        "large": torch.randn(2, 12_345_679),
        "half": torch.randn(7, 11).half(),
        "number": torch.tensor(3.0, dtype=torch.float64),
        "none": torch.empty(0, 4),
        **{f"small.{at}": torch.full((at + 1,), float(at)) for at in range(40)},
    }
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    file = SafetensorsFile(path)
    stored = {name: Stored(name, shape, file.source(name)) for name, shape in file.shapes.items()}
    found = dict(parameters(stored, device, torch.float32))
    assert {name: tuple(value.shape) for name, value in found.items()} == file.shapes
    for name, value in tensors.items():
        assert torch.equal(found[name].cpu(), value.float())

    with path.open("r+b") as cut:
        cut.truncate(path.stat().st_size // 2)
    with pytest.raises(UserError, match="is truncated: copy it again"):
        dict(parameters(stored, device, torch.float32))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["00001-of-999999999"], "model-00002-of-999999999.safetensors is missing"),
        (["00001-of-00002", "00002-of-00003"], "model-00002-of-00002.safetensors is missing"),
        (["00001-of-00003", "00002-of-00003", "00003-of-00003", "00004-of-00004"], "different sets"),
        ([f"00001-of-{'9' * 100}"], "different sets"),
        (["00001-of-0"], "different sets"),
    ],
)
def test_shards_are_counted_by_what_is_there(names, message, tmp_path):
    for name in names:
        (tmp_path / f"model-{name}.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=message):
        find_weights(tmp_path)


def test_a_whole_set_of_shards_is_found(tmp_path):
    paths = [tmp_path / f"model-0000{index}-of-00003.safetensors" for index in (1, 2, 3)]
    for path in paths:
        path.write_bytes(b"")
    assert find_weights(tmp_path) == paths
