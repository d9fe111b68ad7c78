"""The journal survives what happens to files and processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from record_cases import broken, record

from headless_eval.errors import UserError
from headless_eval.results import RunDirectory


def test_what_is_appended_is_read(run: RunDirectory) -> None:
    written = [record(episode=0), broken(episode=1), record(episode=2, task_name="ü")]
    for index, one in enumerate(written):
        run.append(one)
        assert list(RunDirectory.open(run.path).journal()) == written[: index + 1]


def test_each_line_is_on_disk_before_append_returns(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    fsync = os.fsync

    def watch(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").resolve().read_bytes())
        fsync(file)

    monkeypatch.setattr(os, "fsync", watch)
    run.append(record())
    assert synced == [record().to_json().encode() + b"\n"]


@pytest.mark.parametrize("tail", [b'{"configuration":"floa', b"\0" * 300, b'{"a":\xff', b"\0\0\n"])
def test_a_torn_last_line_is_dropped_with_a_notice(
    run: RunDirectory, tail: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    run.append(record(episode=0))
    run.append(record(episode=1))
    run.close()
    journal = run.path / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)

    assert [one.episode for one in RunDirectory.open(run.path).records()] == [0, 1]
    assert "torn last line" in caplog.text
    assert journal.read_bytes() == whole + tail, "reading changes nothing"
    with RunDirectory.open(run.path, write=True) as again:
        again.append(record(episode=2))
    assert journal.read_bytes() == whole + record(episode=2).to_json().encode() + b"\n"


def test_every_cut_loses_at_most_the_last_episode(run: RunDirectory) -> None:
    lines = [record(episode=episode, task_name="ü").to_json().encode() + b"\n" for episode in range(2)]
    run.close()
    for length in range(len(b"".join(lines)) + 1):
        (run.path / "journal.jsonl").write_bytes(b"".join(lines)[:length])
        # A line that lacks nothing but its end of line is whole.
        whole = (length >= len(lines[0]) - 1) + (length >= len(lines[0]) + len(lines[1]) - 1)
        with RunDirectory.open(run.path, write=True) as again:
            assert len(again.records()) == whole
            again.append(record(episode=9))
        assert [one.episode for one in again.journal()] == [*range(whole), 9]


def test_a_damaged_line_before_the_last_is_an_error(run: RunDirectory) -> None:
    for episode in range(3):
        run.append(record(episode=episode))
    run.close()
    journal = run.path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"garbage\n" + lines[2])
    for write in (False, True):
        with pytest.raises(UserError, match="line 2: not JSON"):
            RunDirectory.open(run.path, write=write).records()
    journal.write_bytes(lines[0] + b'{"episode": 1}\n')
    with pytest.raises(UserError, match="line 2: the episode's record: lacks configuration"):
        RunDirectory.open(run.path).records()


def test_a_full_disk_leaves_the_journal_whole(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    run.append(record(episode=0))
    write = os.write

    def half(file: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return write(file, data[: len(data) - 50])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(UserError, match="No space left on device"):
        run.append(record(episode=1))
    monkeypatch.undo()
    run.append(record(episode=2))
    assert [one.episode for one in run.journal()] == [0, 2]


def test_a_killed_process_loses_nothing_it_recorded(run: RunDirectory) -> None:
    run.close()
    code = (
        "import sys, json; from headless_eval.results import *\n"
        "run = RunDirectory.open(sys.argv[1], write=True)\n"
        "fields = json.loads(sys.argv[2])\n"
        "for episode in range(10**9):\n"
        "    run.append(EpisodeRecord.from_dict(fields | {'episode': episode})); print(episode, flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(run.path), record().to_json()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 40:
            break
    process.send_signal(signal.SIGKILL)
    last = [40, *(int(line) for line in process.stdout.read().split("\n")[:-1])][-1]
    process.wait()
    with RunDirectory.open(run.path, write=True) as again:  # the lock went with the process
        episodes = [one.episode for one in again.records()]
    assert episodes == list(range(len(episodes)))
    assert last < len(episodes) <= last + 2
