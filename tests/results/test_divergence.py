"""What is kept of the divergence from the baseline: whole, replaced by trial, and checked by hashes."""

import hashlib

import numpy as np
import pytest
from record_cases import record

from headless_eval.errors import CannotWrite, UserError
from headless_eval.results import RunDirectory
from headless_eval.results.divergence import Divergence

ACTIONS = np.arange(24, dtype=np.float32).reshape(3, 8)


def line(actions=ACTIONS, **changes):
    fields = {
        "configuration": "int4_both",
        "task_id": 1,
        "episode": 0,
        "steps": len(actions),
        "horizon": 2,
        "baseline_sha256": "ab" * 32,
        "actions_sha256": hashlib.sha256(actions.tobytes()).hexdigest(),
    }
    return Divergence(**fields | changes)


def test_what_is_added_is_read(run):
    other = ACTIONS + 1
    run.divergences.add([(line(), ACTIONS), (line(other, episode=1), other)])
    found = RunDirectory.open(run.path).divergences.lines()
    assert [one.trial for one in found] == [("int4_both", 1, 0), ("int4_both", 1, 1)]
    assert np.array_equal(run.divergences.actions(found[0]), ACTIONS)
    assert np.array_equal(run.divergences.actions(found[1]), other)


def test_a_later_line_replaces_that_of_its_trial(run):
    run.divergences.add([(line(), ACTIONS)])
    run.divergences.add([(line(configuration="int8_both"), ACTIONS)])
    run.divergences.add([(line(2 * ACTIONS), 2 * ACTIONS)])
    found = run.divergences.lines()
    assert [one.configuration for one in found] == ["int4_both", "int8_both"]
    assert np.array_equal(run.divergences.actions(found[0]), 2 * ACTIONS)


def test_actions_that_are_cut_or_changed_are_none(run):
    run.divergences.add([(line(), ACTIONS)])
    (found,) = run.divergences.lines()
    file = run.path / "divergence/int4_both.f32"
    whole = file.read_bytes()
    file.write_bytes(whole[:-4])
    assert run.divergences.actions(found) is None
    file.write_bytes(whole[:-4] + b"\0\0\0\0")
    assert run.divergences.actions(found) is None


@pytest.mark.parametrize("text", ["{", '{"configuration": "x"}', "[1]", "{}\n{"])
def test_a_damaged_file_is_one_line_that_says_what_to_do(run, text):
    (run.path / "divergence.jsonl").write_text(text)
    with pytest.raises(
        UserError, match=r"divergence\.jsonl is damaged \(line 1: .*\): remove it; headless-eval div"
    ):
        run.divergences.lines()


def test_a_line_belongs_to_one_episode(run):
    mine = record(steps=3, actions_sha256="ab" * 32)
    assert line().is_of(mine)
    assert not line().is_of(record(steps=3, actions_sha256="cd" * 32))
    assert not line().is_of(record(steps=3, actions_sha256="ab" * 32, episode=1))
    assert not line(steps=4).is_of(mine)


def test_a_full_disk_leaves_the_file_unchanged(run, monkeypatch):
    run.divergences.add([(line(), ACTIONS)])
    before = (run.path / "divergence.jsonl").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CannotWrite, match="No space left"):
        run.divergences.add([(line(episode=1), ACTIONS)])
    assert (run.path / "divergence.jsonl").read_bytes() == before


def test_only_an_open_run_is_written_to(run):
    run.close()
    with pytest.raises(RuntimeError, match="opened for reading"):
        run.divergences.add([])
