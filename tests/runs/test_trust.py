"""A run's folder that names code of somebody else's: not run before the user says so (runs/trust.py)."""

import json
import shutil
from pathlib import Path

import pytest

from headless_eval.cli.main import main
from headless_eval.shared import consent


@pytest.fixture
def theirs(finished, tmp_path, monkeypatch):
    """A run that names a function of Python's which runs a command; the command would make the file ``ran``."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv(consent._VARIABLE, "")
    monkeypatch.setattr(consent, "_told", {})
    monkeypatch.setattr(consent, "_used", {})
    monkeypatch.chdir(tmp_path)
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    change(run, policy="subprocess:getoutput", policy_args=[f"cmd='touch {tmp_path}/ran'"])
    return run


def change(run, **settings):
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["settings"] |= settings
    manifest["status"] = "interrupted"
    path.write_text(json.dumps(manifest))
    journal = run / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize("words", [("run", "--resume", "run"), ("verify", "run")])
def test_a_command_that_a_manifest_names_is_not_run(theirs, tmp_path, capsys, words):
    assert main([*words]) == 2
    said = capsys.readouterr().err
    assert "subprocess" in said
    assert "headless-eval trust run" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "words", [("report", "run"), ("export", "run"), ("verify", "run"), ("certify", "run")]
)
@pytest.mark.parametrize("key", ["policy", "suite", "dtypes"])
def test_no_module_that_a_manifest_names_is_imported(theirs, tmp_path, words, key):
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nTHING = None\n")
    place = "./theirs.py:THING"
    settings = {"policy": "pi0-droid-tiny", "policy_args": []}
    change(theirs, **settings | {key: [place] if key == "dtypes" else place})
    main([*words])
    assert not (tmp_path / "ran").exists()


def test_trusting_a_run_names_what_it_trusts_and_lets_it_go_on(theirs, tmp_path, capsys):
    assert main(["trust", "run"]) == 0
    assert "trusted from now on: subprocess:getoutput" in capsys.readouterr().out
    main(["verify", "run"])
    assert (tmp_path / "ran").exists()


def test_trust_leaves_nothing_of_a_run_refused(theirs):
    path = theirs / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["settings"]["variant"] = ["x=mine:quantize(bits=4)"]
    manifest["variants"][0]["dtype"] = "mine:quantize(bits=4)"  # as a run with a label states it
    path.write_text(json.dumps(manifest))
    assert main(["trust", "run"]) == 0
    consent.check_code(None, "mine", "quantize")


def test_a_run_of_bundled_policies_needs_no_trust(finished, capsys):
    assert main(["trust", str(finished)]) == 0
    assert "names no code" in capsys.readouterr().out
