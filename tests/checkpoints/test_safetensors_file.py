import pytest
import torch
from safetensors.torch import save_file

from headless_eval.checkpoints.safetensors_file import SafetensorsFile
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
