import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from headless_eval.runs import progress
from headless_eval.runs.progress import JsonProgress, RunProgress, Tally, duration


def record(configuration, status, episode=0):
    return SimpleNamespace(
        configuration=configuration,
        status=status,
        success=status == "success",
        trial=(configuration, 1, episode),
        task_key="scene_1",
        episode=episode,
        reason=None,
        steps=12,
        error={"type": "ValueError", "message": "NaN", "traceback": "…"} if status == "error" else None,
    )


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
            for episode, status in enumerate(statuses):
                clock.now += 2.0
                shown.update(record(configuration, status, episode))
    return file.getvalue()


def test_plain_lines_are_few_and_state_success_pace_and_time_left(monkeypatch):
    assert show(monkeypatch, terminal=False).splitlines() == [
        "float32    3/4 episodes, 1/2 success (50% [9, 91]), 1 error, 30.0 episodes/min, 0:10 left",
        "float32    4/4 episodes, 2/3 success (67% [21, 94]), 1 error, 30.0 episodes/min, 0:08 left",
        "int8_both  3/4 episodes, 1/2 success (50% [9, 91]), 1 error, 30.0 episodes/min, 0:02 left",
        "int8_both  4/4 episodes, 2/3 success (67% [21, 94]), 1 error, 30.0 episodes/min, 0:00 left",
    ]


def test_bars_leave_a_line_for_each_configuration(monkeypatch):
    out = show(monkeypatch, terminal=True)
    assert "\x1b[" in out
    for name in ("float32  ", "int8_both"):
        assert f"{name}  4/4 episodes, 2/3 success (67% [21, 94]), 1 error, 30.0 episodes/min" in out
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
    tally.add(record("float32", "error", 1))
    assert tally.outcome() == "2 errors"


def test_an_error_that_is_tried_again_is_replaced():
    tally = Tally(1)
    tally.add(record("float32", "error"))
    tally.add(record("float32", "success"))
    assert (tally.done, tally.errors, tally.successes) == (1, 0, 1)
    assert tally.outcome() == "1/1 success (100% [21, 100])"


def test_earlier_sessions_count_but_set_no_pace(monkeypatch):
    clock, file = Clock(monkeypatch), io.StringIO()
    before = [record("float32", "success", episode) for episode in range(2)]
    with RunProgress(Console(file=file, width=120), ["float32"], 4, before) as shown:
        for episode in (2, 3):
            clock.now += 6.0
            shown.update(record("float32", "failure", episode))
    assert file.getvalue().splitlines() == [
        "float32  3/4 episodes, 2/3 success (67% [21, 94]), 10.0 episodes/min, 0:06 left",
        "float32  4/4 episodes, 2/4 success (50% [15, 85]), 10.0 episodes/min, 0:00 left",
    ]


def test_json_lines_are_for_programs(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with JsonProgress(3, [record("float32", "success", 0)]) as shown:
        clock.now += 30.0
        shown.update(record("float32", "error", 1))
    start, episode = map(json.loads, capsys.readouterr().out.splitlines())
    assert start == {"event": "start", "done": 1, "total": 3}
    assert episode == {
        "event": "episode",
        "configuration": "float32",
        "task": "scene_1",
        "episode": 1,
        "status": "error",
        "reason": None,
        "steps": 12,
        "error": "ValueError: NaN",
        "done": 2,
        "total": 3,
        "successes": 1,
        "errors": 1,
        "episodes_per_minute": 2.0,
        "seconds_left": 30.0,
    }


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (187, "3:07"), (3599.6, "1:00:00"), (3723, "1:02:03")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
