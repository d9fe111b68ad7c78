"""``doctor`` on policies of the user's own and beside a suite.

Checks of files: tests/policies/*/test_preflight.py; each pitfall: tests/runs/pitfalls.
"""

import pytest

from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.policies.checks import OK, SKIPPED, WARNING
from headless_eval.runs import doctor
from headless_eval.runs.pitfalls.known import PITFALLS
from headless_eval.sims import egl_beside_cuda
from headless_eval.sims.registry import Suite


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["--policy", "./fit.py:Fitting"], 0, "can be loaded"),
        (["--policy", "./fit.py:Fitting", "--suite", "droid"], 0, "can be evaluated"),
        (["--policy", "./fit.py:Fast", "--suite", "droid"], 2, "It does not fit: cameras"),
        (["--policy", "./fit.py:Fitting", "--suite", "libero_goal"], 2, "is for the robot droid"),
        (["--policy", "./fit.py:Fitting", "--suite", "droid"], 0, "do not depend on the camera"),
        (["--policy", "./fit.py:Relative", "--suite", "droid"], 2, "they are changes or velocities"),
        (["--policy", "zero", "--suite", "libero_goal"], 0, "can be evaluated"),
        pytest.param(
            ["--suite", "droid"],
            0,
            "1 of 1 episode succeeds as it is",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--policy", "./fit.py:Turned", "--suite", "droid", "--seconds", "500"],
            2,
            "0 of 3 episodes succeed as it is, 3 of 3 with the pictures turned by 180°",
            marks=pytest.mark.slow,
        ),
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


def test_pitfalls_are_shown_with_their_reported_damage_and_its_source(fit_file, capsys):
    assert main(["doctor", "--policy", "./fit.py:Fitting", "--suite", "droid", "--seconds", "0"]) == 0
    said = capsys.readouterr().out
    for pitfall in PITFALLS.values():
        assert pitfall.name in said
        assert all(report.damage in said and report.url in said for report in pitfall.reports)


def test_a_simulator_that_cannot_start_is_said(monkeypatch, fit_file, capsys):
    def start(self, *arguments, **options):
        raise UserError("there is no simulator")

    monkeypatch.setattr(Suite, "make", start)
    assert main(["doctor", "--policy", "./fit.py:Fitting", "--suite", "droid"]) == 0
    assert "Pitfalls cannot be looked for: there is no simulator." in capsys.readouterr().out


def test_drawing_beside_cuda_is_tried_and_its_failure_told(monkeypatch):
    told = [(False, "aborts (SIGABRT)"), (True, "drew 9 pictures"), (None, "was not tried: no memory")]
    outcomes = (egl_beside_cuda.Outcome(*one) for one in told)
    monkeypatch.setattr(egl_beside_cuda, "try_it", lambda device: next(outcomes))
    check = doctor._drawing("cuda:0")
    assert check.status == WARNING
    assert "EGL beside CUDA aborts (SIGABRT)" in check.text
    assert doctor._drawing("cuda:0").status == OK
    assert doctor._drawing("cuda:0").status == SKIPPED
