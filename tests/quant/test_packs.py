import pytest
import torch
from quant_cases import ToyStack, calibration_of, same_bits, stack_inputs
from safetensors.torch import load_file

from headless_eval.quant import Precision, quantize_


@pytest.mark.parametrize("name", ["rtn_w4a8_g5", "smoothquant_w8a8", "duquant_w4a8_rowrot", "duquant_w16a4"])
def test_packs_are_read_the_next_time(tmp_path, monkeypatch, name):
    model, x = ToyStack(), stack_inputs()
    calibration = calibration_of(model, x)

    def enter(name=name, **changes):
        arguments = {"calibration": calibration, "packdir": tmp_path / "packs"} | changes
        with quantize_(model, Precision(name), **arguments) as handle:
            return model(x), handle.packed_bytes

    made, size = enter()
    (path,) = (tmp_path / "packs").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr("headless_eval.quant.quantize.solve", None)
        read, read_size = enter()
    assert same_bits(made, read)
    assert read_size == size
    assert sum(tensor.nbytes for tensor in load_file(path).values()) - size in (
        0,
        *range(4, 20, 4),
    )  # the clips
    path.write_bytes(path.read_bytes()[:-9])
    assert same_bits(enter()[0], made)  # made anew
    with torch.no_grad():
        model.blocks[0].up.weight[0, 0] += 1
    enter()
    enter(calibration=calibration_of(model, stack_inputs(seed=9)))
    assert len(list((tmp_path / "packs").iterdir())) == (2 if name.startswith("rtn") else 3)
