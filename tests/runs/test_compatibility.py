"""A policy that does not fit a suite is refused with a table before anything runs."""

import pytest

from headless_eval.cli.main import main


@pytest.mark.usefixtures("fit_file")
def test_a_run_is_refused_with_one_table(tmp_path, capsys):
    assert main(["run", "--policy", "./fit.py:Fast", "--dtypes", "float32", "--videos", "none"]) == 2
    said = capsys.readouterr().err
    assert "control rate" in said
    assert said.count("DIFFERS") == 2
    *_, last = said.splitlines()
    assert last.startswith("headless-eval: error: cameras: observation/top for the policy")
    assert "control rate: 50 Hz for the policy ./fit.py:Fast, 15 Hz in the suite droid" in last
    assert not (tmp_path / "results").exists()
    words = ["--policy", "./fit.py:Fitting", "--dtypes", "float32", "--open-loop-horizon", "5"]
    assert main(["run", *words]) == 2
    assert "--open-loop-horizon is 5, but the policy ./fit.py:Fitting gives 4" in capsys.readouterr().err


def test_another_robot_is_refused_with_policies_for_it(capsys):
    assert main(["sensitivity", "--suite", "libero_object"]) == 2
    said = capsys.readouterr().err
    assert "DIFFERS" in said
    *_, last = said.splitlines()
    assert last.startswith("headless-eval: error: the policy pi0-droid-tiny is for the robot droid")
    assert "--policy pi0-libero-tiny" in last
