import pytest
import torch
from quant_cases import ToyStack, calibration_of, stack_inputs

from headless_eval.errors import UserError
from headless_eval.quant import Calibration, DuQuant, Recorder, RoundToNearest, SmoothQuant, quantize_


def test_recording_layers_that_nothing_calls_says_why():
    with Recorder(torch.nn.Linear(4, 4)) as recorder, pytest.raises(UserError, match="engine='eager'"):
        recorder.calibration()


def test_what_a_calibration_sees(tmp_path):
    model, x = ToyStack(), stack_inputs()
    calibration = calibration_of(model, x)
    first = calibration.layers["embed"]
    assert torch.equal(first.largest, x.reshape(-1, 6).abs().amax(0))
    assert first.tokens.shape == (128, 6)  # of 160
    rows = {tuple(row) for row in x.reshape(-1, 6).to(torch.bfloat16).tolist()}
    assert {tuple(row) for row in first.tokens.tolist()} <= rows
    path = tmp_path / "calibration.safetensors"
    calibration.save(path)
    again = Calibration.load(path)
    assert again.sha256() == calibration.sha256() == calibration_of(model, x).sha256()
    assert again.facts == {"fingerprint": "of the toy"}
    assert calibration_of(model, stack_inputs(seed=9)).sha256() != calibration.sha256()
    again.check("of the toy", str(path))
    with pytest.raises(UserError, match="other weights"):
        again.check("of another", str(path))


def test_calibrations_that_do_not_serve(tmp_path):
    model = ToyStack()
    with pytest.raises(UserError, match="needs a calibration"):
        quantize_(model, DuQuant())
    with pytest.raises(UserError, match="saw no input of"):
        quantize_(model, SmoothQuant(), calibration=Calibration({}))
    with pytest.raises(UserError, match="another model's"):
        quantize_(model, SmoothQuant(), calibration=calibration_of(ToyStack(width=12), stack_inputs()))
    quantize_(model, RoundToNearest()).restore()  # nothing was left behind
    path = tmp_path / "calibration.safetensors"
    for content in (b"", b"\x80\x04K\x01.", b"not at all"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot read"):
            Calibration.load(path)
    with pytest.raises(UserError, match="cannot read"):
        Calibration.load(tmp_path / "missing")
