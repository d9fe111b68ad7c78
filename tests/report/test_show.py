"""The command that prints a run's summary."""

from pathlib import Path

import pytest

from headless_eval.cli.main import main


def test_the_command_says_how_many_episodes(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run_folder), "--detect", "0.1"]) == 0
    assert "To detect a drop of 10 points" in capsys.readouterr().out
    assert main(["report", str(run_folder), "--detect", "5"]) == 2
    assert "--detect is 5; it must be above 0 and at most 1" in capsys.readouterr().err
