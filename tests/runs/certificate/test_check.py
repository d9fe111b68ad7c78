"""A certificate of a real run is checked by running its episodes again; whatever is changed in it is found."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from droid_suite import SHORT_RUN
from paths import ROOT
from safetensors.torch import load_file, save_file

from headless_eval.cli.main import main
from headless_eval.runs.certificate.document import decode, write
from headless_eval.runs.certificate.statistics import statistics_of

STATUS, ACTIONS, INITIAL, FIRST = 3, 7, 6, 8


def flip(table):
    """The first episode ends otherwise."""
    table["episodes"][0][STATUS] = "success"


def restate(table):
    """The statistics are made to fit the episodes."""
    table["statistics"] = statistics_of(decode(json.dumps({**table, "statistics": []}).encode(), None))


def changed(text):
    return ("0" if text[0] != "0" else "1") + text[1:]


def test_all_of_it_holds(sent, short_episodes, capsys):
    assert main(["verify", str(sent), "--sample", "4", "--sample-seed", "1"]) == 0
    said = capsys.readouterr().out
    assert "certificate of 6 episodes of droid, policy 'random'" in said
    assert "not checked    signature: the certificate comes without one" in said
    assert "holds          statistics: recomputed from the certificate's episodes, the same:" in said
    assert "float32: 0 of 6 succeed, 0.0 % [0.0, 39.0]" in said
    assert "holds          code: the same" in said
    assert "holds          sample: 4 of 6 episodes run again, drawn by --sample-seed 1" in said
    assert "holds          initial states: 4 of 4 the same" in said
    assert "holds          actions: 4 of 4 bit for bit" in said
    assert "outcomes: 4 of 4 as stated, 0 of them successful; so at least 47 % of all 6 are true" in said
    assert said.endswith("what was checked holds (exactly); not checked: signature\n")


def test_a_flipped_outcome_contradicts_the_statistics(forge, capsys):
    assert main(["verify", str(forge(flip)), "--without-running"]) == 1
    said = capsys.readouterr().out
    assert (
        "DOES NOT HOLD  statistics: not those of the certificate's episodes: float32, scene_1: successes 0"
        in said
    )
    assert "float32: 1 of 6 succeed" in said


def test_stated_rates_are_not_believed(forge, capsys):
    def better(table):
        table["statistics"][-1]["rate"] = 1.0

    assert main(["verify", str(forge(better)), "--without-running"]) == 1
    assert "rate 1.0 is stated, 0.0 is what the episodes give" in capsys.readouterr().out


def test_a_flipped_outcome_with_its_statistics_is_found_by_running_it(forge, short_episodes, capsys):
    path = forge(flip, restate)
    assert main(["verify", str(path), "--without-running"]) == 0
    assert main(["verify", str(path), "--all"]) == 1
    said = capsys.readouterr().out
    assert "DOES NOT HOLD  outcomes: 5 of 6 as stated" in said
    assert "float32, task 1, episode 0: success stated, failure here" in said


@pytest.mark.parametrize(
    ("column", "subject"), [(ACTIONS, "actions: 5 of 6"), (INITIAL, "initial states: 5 of 6")]
)
def test_a_changed_hash_of_an_episode_is_found(forge, short_episodes, capsys, column, subject):
    def change(table):
        table["episodes"][2][column] = changed(table["episodes"][2][column])

    assert main(["verify", str(forge(change)), "--all"]) == 1
    said = capsys.readouterr().out
    assert f"DOES NOT HOLD  {subject}" in said
    assert "float32, task 1, episode 2" in said


def test_another_machine_is_compared_statistically(forge, short_episodes, capsys):
    def elsewhere(table):
        table["hardware"]["cpu"] = "Colleague's"
        table["episodes"][0][ACTIONS] = changed(table["episodes"][0][ACTIONS])

    path = forge(elsewhere)
    assert main(["verify", str(path), "--all"]) == 0
    said = capsys.readouterr().out
    assert "differs        hardware: others here\n               cpu: Colleague's then" in said
    assert (
        "consistent     actions: 5 of 6 bit for bit; in 1 of the other 1 the first action is the same" in said
    )
    assert "what was checked holds (actions statistically, the others exactly)" in said

    def all_succeed(table):
        for episode in table["episodes"]:
            episode[STATUS] = "success"

    assert main(["verify", str(forge(all_succeed, restate)), "--all"]) == 1
    said = capsys.readouterr().out
    assert "success 0 of 6 where the certificate says 6 of 6: not consistent at 5 % (p = 0.031)" in said


def test_another_policy_is_told_before_anything_runs(sent, short_episodes, capsys):
    assert main(["verify", str(sent), "--policy", "zero"]) == 1
    said = capsys.readouterr().out
    assert "DOES NOT HOLD  policy and suite: described otherwise" in said
    assert "RandomPolicy then, " in said
    assert "not checked    sample: no episode was run again" in said


def test_other_code_of_the_same_version_does_not_hold(forge, short_episodes, capsys):
    def other(table):
        table["source"]["sha256"] = changed(table["source"]["sha256"])

    assert main(["verify", str(forge(other)), "--sample", "1"]) == 1
    assert "DOES NOT HOLD  code: other files of the same version" in capsys.readouterr().out


def test_a_policy_that_does_not_repeat_is_compared_by_its_successes(tmp_path, short_episodes, capsys):
    code = tmp_path / "drawing.py"
    code.write_text(
        "import secrets\n\nimport numpy as np\n\n\nclass Drawing:\n    def infer(self, obs):\n"
        '        state = np.append(obs["observation/joint_position"], 0.0)\n'
        "        return {'actions': np.tile(state + secrets.randbelow(1000) / 1e5, (8, 1))}\n"
    )
    run, path = str(tmp_path / "run"), str(tmp_path / "drawing.json")
    named = ["--policy", f"{code}:Drawing"]
    assert main(["run", *named, *SHORT_RUN[2:], "--results", run, "--quiet"]) == 0
    assert main(["certify", run, "--out", path]) == 0
    assert main(["verify", path, *named, "--all"]) == 0
    said = capsys.readouterr().out
    assert "differs        determinism: simulator or policy does not repeat to the bit" in said
    assert "consistent     actions: 0 of 6 bit for bit" in said
    assert "the first action differs by at most" in said


def test_missing_episodes_are_counted(forge, capsys):
    path = forge(lambda table: table["episodes"].pop(), restate)
    assert main(["verify", str(path), "--without-running"]) == 1
    assert "DOES NOT HOLD  episodes: 1 that the settings name are missing" in capsys.readouterr().out


def test_flags_of_certificates_are_for_files(finished, capsys):
    assert main(["verify", str(finished), "--without-running"]) == 2
    assert "--without-running goes with a certificate's file only" in capsys.readouterr().err


@pytest.mark.slow
def test_a_policy_with_weights_in_fresh_processes(tmp_path, droid_policy, untrained_policy):
    """Run, certify, verify; then verify with another policy, and with a flipped outcome."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "headless_eval", *words], env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    method = tmp_path / "mine.py"
    method.write_text("def halve(model):\n    for one in model.parameters():\n        one.data.mul_(0.5)\n")
    folder, path = str(tmp_path / "run"), tmp_path / "certificate.json.gz"
    dtypes = ["float32", "int8", "smoothquant_w8a8", f"{method}:halve"]
    words = ["--policy", droid_policy, "--max-steps", "24", "--dtypes", *dtypes]
    status, said = run("run", *words, *SHORT_RUN[4:], "--results", folder, "--quiet")
    assert status == 0, said
    assert run("certify", folder, "--out", str(path))[0] == 0
    named = [] if "/" not in droid_policy else ["--policy", droid_policy]
    status, said = run("verify", str(path), *named)
    assert status == 2
    assert "mine_halve is made by mine.py:halve, which is not part of headless-eval" in said
    named += ["--method", f"{method}:halve"]
    status, said = run("verify", str(path), *named, "--all")
    assert status == 0, said
    assert "actions: 24 of 24 bit for bit" in said
    assert "holds          weights: the same (sha256" in said
    assert "holds          calibration: recorded anew, the same (sha256" in said
    assert "holds          methods' code: the same (mine_halve mine.py sha256" in said

    other = tmp_path / "other"
    shutil.copytree(untrained_policy, other)
    weights = next(other.glob("*.safetensors"))
    tensors = load_file(weights)
    name, tensor = next((name, one) for name, one in tensors.items() if one.is_floating_point())
    save_file({**tensors, name: tensor + 1e-3}, weights)
    status, said = run("verify", str(path), *named, "--policy", str(other))
    assert status == 1, said
    assert "DOES NOT HOLD  weights: another (sha256" in said
    assert "no episode was run again" in said

    certificate = decode(path.read_bytes(), path)
    first = certificate.episodes[0]
    first.status = "failure" if first.status == "success" else "success"
    write(certificate, path)
    status, said = run("verify", str(path), *named, "--without-running")
    assert status == 1
    assert "DOES NOT HOLD  statistics" in said
