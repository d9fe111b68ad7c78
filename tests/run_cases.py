"""Runs that are changed after the fact."""

import hashlib
import shutil
from dataclasses import replace

from headless_eval.results import RunDirectory


def tamper(folder, index, change):
    """Change the executed actions of a record, and its hash with them."""
    run = RunDirectory.open(folder)
    records = run.records()
    taken = [run.actions(record) for record in records]
    taken[index] = change(taken[index].copy())
    (folder / "journal.jsonl").write_text("")
    shutil.rmtree(folder / "actions")
    with RunDirectory.open(folder, write=True) as run:
        for record, actions in zip(records, taken, strict=True):
            sha = hashlib.sha256(actions.astype("<f4").tobytes()).hexdigest()
            run.append(replace(record, actions_sha256=sha, steps=len(actions)), actions)


def nudge(actions):
    actions[11, 5] += 0.25
    return actions
