"""``doctor`` on policies of the user's own and beside a suite; checks of files: tests/policies/*/test_preflight.py."""

import pytest

from headless_eval.cli.main import main


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["--policy", "./fit.py:Fitting"], 0, "can be loaded"),
        (["--policy", "./fit.py:Fitting", "--suite", "droid"], 0, "can be evaluated"),
        (["--policy", "./fit.py:Fast", "--suite", "droid"], 2, "It does not fit: cameras"),
        (["--policy", "./fit.py:Fitting", "--suite", "libero_goal"], 2, "is for the robot droid"),
        (["--policy", "zero", "--suite", "libero_goal"], 0, "can be evaluated"),
        pytest.param(
            ["--policy", "pi0-libero-tiny", "--suite", "libero_goal"],
            0,
            "checkpoint can be evaluated",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--policy", "pi0-libero-tiny", "--suite", "droid"],
            2,
            "is for the robot libero",
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.usefixtures("fit_file")
def test_doctor_prints_the_comparison(words, status, expected, capsys):
    assert main(["doctor", *words]) == status
    said = capsys.readouterr().out
    assert expected in said
    assert ("actions of a chunk" in said) == ("--suite" in words)
