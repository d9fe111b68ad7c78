"""Journals and manifests of any content: what was written is read, and anything else is one line."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from properties import anything, damaged, few, outcome, records
from record_cases import manifest, record

from headless_eval.errors import UserError
from headless_eval.results import EpisodeRecord, RunDirectory
from headless_eval.results.journal import read_journal
from headless_eval.shared.files import Folder
from headless_eval.shared.untrusted import DEPTH, parse_json

LINES = [record(episode=episode, metrics={"a": 0.5}).to_json().encode() + b"\n" for episode in range(3)]
MANIFEST: dict[str, Any] = manifest(settings={"sequential": 0.1, "retries": 1}) | {
    "format": 2,
    "status": "finished",
}


@few
@given(written=st.lists(records(), max_size=3), tail=st.binary(max_size=30))
def test_what_is_written_is_read_whatever_a_crash_leaves_behind_it(
    written: list[EpisodeRecord], tail: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "journal.jsonl"
    lines = b"".join(one.to_json().encode() + b"\n" for one in written)
    path.write_bytes(lines)
    assert list(read_journal(Folder(tmp_path))) == written
    path.write_bytes(lines + tail.replace(b"\n", b" "))
    found = outcome(lambda: list(read_journal(Folder(tmp_path))))
    assert isinstance(found, UserError) or found[: len(written)] == written


@few
@given(at=st.integers(0, len(LINES[2]) - 2))
def test_a_cut_line_never_reads_as_another_record(at: int, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(LINES[:2]) + LINES[2][:at])
    assert [one.episode for one in read_journal(Folder(tmp_path))] == [0, 1]


@few
@given(data=damaged(b"".join(LINES)))
def test_a_damaged_journal_is_read_or_refused_in_outcome(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(data)
    found = outcome(lambda: list(read_journal(Folder(tmp_path))))
    assert isinstance(found, UserError) or all(isinstance(one, EpisodeRecord) for one in found)


@few
@given(name=st.sampled_from(sorted(json.loads(LINES[0]))), value=anything)
def test_a_record_with_any_value_in_a_field_is_one_or_is_refused(name: str, value: Any) -> None:
    found = outcome(lambda: EpisodeRecord.from_dict(json.loads(LINES[0]) | {name: value}))
    assert isinstance(found, EpisodeRecord | UserError)


@few
@given(name=st.sampled_from([*sorted(MANIFEST), "time", "metrics", "more"]), value=anything)
def test_a_manifest_with_any_value_in_an_entry_is_read_or_refused(
    name: str, value: Any, tmp_path: Path
) -> None:
    (tmp_path / "journal.jsonl").write_bytes(b"".join(LINES))
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST | {name: value}))

    def read() -> RunDirectory:
        run = RunDirectory.open(tmp_path)
        run.records()
        return run

    found = outcome(read)
    if isinstance(found, RunDirectory):
        assert {type(entry["id"]) for entry in found.manifest["tasks"]} <= {int}
        assert type(found.manifest["episodes"]) is int


@few
@given(value=anything)
def test_any_json_is_read_as_it_is_or_refused(value: Any) -> None:
    found = outcome(lambda: parse_json(json.dumps(value)), ValueError)
    assert isinstance(found, ValueError) or parse_json(json.dumps(found)) == found


@few
@given(depth=st.integers(1, 3 * DEPTH), list_first=st.booleans())
def test_depth_is_bounded(depth: int, list_first: bool) -> None:
    begin, end = ("[", "]") if list_first else ('{"a":', "}")
    text = begin * depth + "0" + end * depth
    assert isinstance(outcome(lambda: parse_json(text), ValueError), ValueError) == (depth > DEPTH)
