import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from headless_eval import progress
from headless_eval.progress import RunProgress, Tally, duration


def record(configuration, status):
    return SimpleNamespace(configuration=configuration, status=status, success=status == "success")


class Clock:
    """A clock that stands still until told."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(progress, "monotonic", lambda: self.now)


def show(monkeypatch, terminal, statuses=("success", "failure", "error", "success")):
    clock, file = Clock(monkeypatch), io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120)
    with RunProgress(console, ["float32", "int8_both"], len(statuses)) as shown:
        for configuration in ("float32", "int8_both"):
            for status in statuses:
                clock.now += 2.0
                shown.update(record(configuration, status))
    return file.getvalue()


def test_plain_lines_are_few_and_state_success_pace_and_time_left(monkeypatch):
    assert show(monkeypatch, terminal=False).splitlines() == [
        "float32    3/4 episodes, 1/2 success (50%), 1 error, 30.0 episodes/min, 0:10 left",
        "float32    4/4 episodes, 2/3 success (67%), 1 error, 30.0 episodes/min, 0:08 left",
        "int8_both  3/4 episodes, 1/2 success (50%), 1 error, 30.0 episodes/min, 0:02 left",
        "int8_both  4/4 episodes, 2/3 success (67%), 1 error, 30.0 episodes/min, 0:00 left",
    ]


def test_bars_leave_a_line_for_each_configuration(monkeypatch):
    out = show(monkeypatch, terminal=True)
    assert "\x1b[" in out
    for name in ("float32  ", "int8_both"):
        assert f"{name}  4/4 episodes, 2/3 success (67%), 1 error, 30.0 episodes/min" in out
    assert "8/8" in out


def test_a_quiet_console_shows_nothing(monkeypatch):
    file = io.StringIO()
    with RunProgress(Console(file=file, quiet=True), ["float32"], 1) as shown:
        shown.update(record("float32", "success"))
    assert file.getvalue() == ""


def test_errors_alone_give_no_rate(monkeypatch):
    Clock(monkeypatch)
    tally = Tally(3)
    assert (tally.outcome(), tally.time_left()) == ("", "")
    tally.add(record("float32", "error"))
    tally.add(record("float32", "error"))
    assert tally.outcome() == "2 errors"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (187, "3:07"), (3599.6, "1:00:00"), (3723, "1:02:03")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
