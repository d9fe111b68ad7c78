"""Calibration by a run and by ``calibrate``: methods that run, resume and are verified with it."""

import json
import shutil

import pytest
from droid_suite import short_tasks

from headless_eval.cli import duquant_environment
from headless_eval.cli.main import main
from headless_eval.quant import Calibration

RUN = ["--tasks", "scene_1", "--episodes", "2", "--slots", "2", "--videos", "none"]
METHODS = ["float32", "smoothquant_w8a8", "duquant_w4a8_steps1_noperm_noclip"]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in duquant_environment._VARIABLES:
        monkeypatch.delenv(f"{duquant_environment.PREFIX}{name}", raising=False)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, request):
    """A run with methods, which has calibrated itself."""
    folder = tmp_path_factory.mktemp("methods") / "run"
    with pytest.MonkeyPatch.context() as patch:
        short_tasks(patch)
        status = main(["run", *RUN, "--dtypes", *METHODS, "--quiet", "--results", str(folder)])
    assert status == 0
    return folder


def test_a_run_calibrates_itself_and_records_methods_like_dtypes(run_folder):
    manifest = json.loads((run_folder / "manifest.json").read_text())
    calibration = Calibration.load(run_folder / "calibration.safetensors")
    assert calibration.facts["fingerprint"] == manifest["policy"]["fingerprint"]
    assert calibration.sha256() == manifest["policy"]["calibration_sha256"]
    assert int(calibration.facts["seed"]) != manifest["seed"]
    records = [json.loads(line) for line in (run_folder / "journal.jsonl").read_text().splitlines()]
    assert {record["configuration"] for record in records} == set(METHODS)
    assert {record["mode"] for record in records if record["dtype"] != "float32"} == {"both"}
    quantized = manifest["quantized"]
    assert quantized["duquant_w4a8_steps1_noperm_noclip"]["packed_bytes"] > 0
    assert quantized["duquant_w4a8_steps1_noperm_noclip"]["unfired"] == []
    assert len({record["actions_sha256"] for record in records}) == len(records)
    table = json.loads((run_folder / "results.json").read_text())
    assert set(table) >= set(METHODS)


def test_it_verifies_and_goes_on_with_its_own_calibration(run_folder, tmp_path, monkeypatch, capsys):
    short_tasks(monkeypatch)
    folder = tmp_path / "copy"
    shutil.copytree(run_folder, folder)
    assert main(["verify", str(folder), "--sample", "4", "--slots", "1"]) == 0
    journal = (folder / "journal.jsonl").read_text().splitlines(keepends=True)
    (folder / "journal.jsonl").write_text("".join(journal[:-1]))
    monkeypatch.setattr("headless_eval.runs.calibrate.calibrate", None)  # not made again
    assert main(["run", "--resume", str(folder), "--quiet"]) == 0
    last = json.loads((folder / "journal.jsonl").read_text().splitlines()[-1])
    assert last["actions_sha256"] == json.loads(journal[-1])["actions_sha256"]
    (folder / "calibration.safetensors").unlink()
    assert main(["verify", str(folder)]) == 2
    assert "calibration.safetensors is missing" in capsys.readouterr().err


def test_calibrate_writes_the_same_whatever_the_slots(run_folder, tmp_path, monkeypatch, capsys):
    short_tasks(monkeypatch)
    path = tmp_path / "calibration.safetensors"
    arguments = ["calibrate", "--tasks", "scene_1", "--slots", "1", "--output", str(path)]
    assert main(arguments) == 0
    said = capsys.readouterr().err
    assert said.startswith("calibrating on 3 episodes of its own at float32\ncalibrated on ")
    number = Calibration.load(path).facts["number"]
    assert f"on {number} observations of 3 episodes (not 32: there were no more) in " in said
    assert (
        Calibration.load(path).sha256() == Calibration.load(run_folder / "calibration.safetensors").sha256()
    )
    assert main(arguments) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_calibration_of_other_weights_is_one_clear_error(run_folder, untrained_policy, capsys):
    given = str(run_folder / "calibration.safetensors")
    command = ["run", *RUN, "--dtypes", "float32", "duquant_w4a8", "--policy", str(untrained_policy)]
    assert main([*command, "--calibration", given]) == 2
    message = capsys.readouterr().err
    assert "recorded with other weights" in message
    assert message.count("\n") == 1


def test_wrong_settings(capsys):
    for arguments, message in (
        (["--dtypes", "float32", "int4", "--bits", "mlp=w8"], "--bits is for methods"),
        (["--dtypes", "float32", "rtn_w4a8", "--bits", "mlp"], "write REGEX=BITS"),
        (["--dtypes", "float32", "rtn_w4a8", "--bits", "mlp=w9"], "2 to 8"),
        (
            ["--dtypes", "float32", "rtn_w4a8", "--bits", "mlp=w8", "nothere=w8"],
            "bits are given for 'nothere'",
        ),
        (["--dtypes", "float32", "int4", "--calibration", "a"], "--calibration is for methods"),
        (["--dtypes", "float32", "int4", "--dry-run"], "--dry-run is for methods"),
        (["--dtypes", "rtn_w4a8_b7"], "is no option of rtn"),
        (["--calibration-steps", "0"], "--calibration-steps is 0"),
        (["--policy", "zero", "--dtypes", "duquant_w4a8"], "holds no torch model"),
    ):
        assert main(["run", *RUN, *arguments]) == 2
        assert message in capsys.readouterr().err
