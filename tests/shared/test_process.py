import os
import signal
import time

import pytest

from headless_eval.shared import process


def test_what_ends_the_process_is_called_once_with_the_exit_status():
    seen = []
    process.at_end(seen.append)
    assert process.end(3) == 3
    assert process.end(4) == 4
    assert seen == [3]


@pytest.fixture
def ctrl_c(monkeypatch):
    """Take Ctrl-C as the program does, and return what presses it some times, a few milliseconds apart."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(process, "_PAUSE", 0.1)
    process.interrupt_once()

    def press(times):
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.005)

    yield press
    signal.signal(signal.SIGINT, before)


def test_three_ctrl_c_at_once_are_one(ctrl_c):
    with pytest.raises(KeyboardInterrupt):
        ctrl_c(1)
    ctrl_c(2)
    time.sleep(0.12)
    with pytest.raises(KeyboardInterrupt):
        ctrl_c(1)


def test_a_process_that_is_about_to_end_is_not_interrupted(ctrl_c):
    process.ignore_interrupts()
    ctrl_c(3)


def test_where_ctrl_c_is_ignored_it_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.interrupt_once()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
