"""What is kept of one episode."""

import json
import re
from typing import Any

import pytest
from record_cases import broken, record

from headless_eval.errors import UserError
from headless_eval.results import EpisodeRecord, describe_error


@pytest.mark.parametrize(
    "kept",
    [
        record(),
        record(video=None, task_name='a "b",\n漢字'),
        broken(),
        record(sim_s=1),
        record(status="failure", success=False, reason="dropped", phase="carry", metrics={"drops": 1.0}),
    ],
)
def test_json_round_trip(kept: EpisodeRecord) -> None:
    line = kept.to_json()
    assert "\n" not in line
    assert EpisodeRecord.from_dict(json.loads(line)) == kept


def test_fields_are_the_contracts() -> None:
    assert list(json.loads(record().to_json())) == [
        *("configuration", "dtype", "mode", "scope", "task_id", "task_key", "task_name", "instruction"),
        *("episode", "status", "success", "steps", "max_steps", "seed", "replans", "actions_sha256"),
        *("video", "sim_s", "render_s", "infer_s", "total_s", "started_at", "error", "actions"),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "won"},
        {"success": False},
        {"status": "error", "success": False},
        {"error": {"type": "X"}},
        {"reason": "dropped"},
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        record(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": "117"}, "'steps': expected int, got str"),
        ({"success": 1}, "'success': expected bool, got int"),
        ({"episode": True}, "'episode': expected int, got bool"),
        ({"error": "bad"}, "'error': expected object | null, got str"),
        ({"success": False}, "contradicts"),
        ({"metrics": {"distance": "0.1"}}, "'metrics[...]': expected float, got str"),
        ({"variant": {"flow_steps": [5]}}, "'variant[...]': expected int | float | str, got array"),
        ({"actions": {"offset": 0.5}}, "'actions[...]': expected int, got float"),
        ({"replans": -1}, "'replans': expected int >= 0"),
        ({"steps": 2**40}, "'steps': expected int <= 2147483647"),
    ],
)
def test_damaged_fields_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        EpisodeRecord.from_dict(record().to_dict() | changes)


def test_a_missing_field_is_named_and_an_unknown_one_ignored() -> None:
    fields = record().to_dict()
    assert EpisodeRecord.from_dict(fields | {"added_later": 1}) == record()
    del fields["replans"]
    with pytest.raises(UserError, match="lacks replans"):
        EpisodeRecord.from_dict(fields)


def test_describe_error_keeps_the_whole_story() -> None:
    try:
        try:
            raise KeyError("prompt")
        except KeyError as error:
            raise UserError("no prompt") from error
    except UserError as error:
        kept = describe_error(error)
    assert kept["type"] == "headless_eval.errors.UserError"
    assert kept["message"] == "no prompt"
    assert "KeyError: 'prompt'" in kept["traceback"]
    assert "test_record.py" in kept["traceback"]
