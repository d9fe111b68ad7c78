"""What the terminal shows of a run's results."""

import io

from rich.console import Console

from headless_eval.report import build
from headless_eval.report.terminal import print_results
from headless_eval.results import RunDirectory


def test_success_comes_first_and_every_part_once(run_folder):
    text = io.StringIO()
    print_results(Console(file=text, width=120), RunDirectory.open(run_folder), build(run_folder))
    lines = [line for line in text.getvalue().splitlines() if line.strip()]
    assert "success by precision" in lines[0]
    assert text.getvalue().count("success by precision") == 1


def test_a_quiet_console_prints_nothing(run_folder):
    text = io.StringIO()
    print_results(Console(file=text, quiet=True), RunDirectory.open(run_folder), build(run_folder))
    assert not text.getvalue()
