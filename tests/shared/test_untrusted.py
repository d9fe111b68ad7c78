"""JSON and TOML from anybody: bounded, and harmless where they are shown."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from headless_eval.shared.untrusted import (
    DEPTH,
    convert,
    parse_json,
    parse_toml,
    read_json,
    read_table,
    read_toml,
)

DIGITS = b"9" * 400


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON: Input data was truncated"),
        (b"{", "not JSON"),
        (b"NaN", "not JSON: invalid character"),
        (b"-Infinity", "not JSON"),
        (b"1e400", "not JSON: Number out of range"),
        (DIGITS, "a number of 1329 bits; 64 are the most"),
        (b"9" * 5000, "not JSON: Integer value out of range"),
        (b'"\\ud800"', "not JSON"),
        (b'"\xed\xa0\x80"', "its text is not UTF-8"),
        (b"\xff", "not JSON"),
        (b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1), f"more than {DEPTH} tables or lists"),
        (b"[" * 1_000_000, f"more than {DEPTH} tables or lists"),
        (b'{"a":' * 1_000_000, f"more than {DEPTH} tables or lists"),
    ],
)
def test_what_is_no_json_or_out_of_bounds_is_one_error(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_json(content)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a", "not TOML"),
        (b"a = nan", "the number nan, which is not finite"),
        (b"a = 1e400", "the number inf, which is not finite"),
        (b"a = " + DIGITS, "a number of 1329 bits"),
        (b"a = " + b"9" * 5000, "not TOML"),
        (b'a = "\\ud800"', "not TOML"),
        (b"\xff", "its text is not UTF-8"),
        (b"a = " + b"[" * 100_000, "more than 64 tables or lists"),
        (b"a" + b".a" * 2000 + b" = 1", "more than 64 tables or lists"),
    ],
)
def test_what_is_no_toml_or_out_of_bounds_is_one_error(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_toml(content)
    assert "\n" not in str(error.value)


def test_what_is_within_the_bounds_is_read_as_it_is() -> None:
    nested: object = 0.5
    for _ in range(DEPTH):
        nested = [nested]
    good = {"a": [1, 2.5, True, None, "ü\n\t"], "b": 2**64 - 1, "c": -(2**63)}
    assert parse_json(json.dumps(good)) == good
    assert parse_json(json.dumps(nested)) == nested
    assert parse_toml('a = [1, 2.5]\nb = "ü"\n[c]\nd = true'.encode()) == {
        "a": [1, 2.5],
        "b": "ü",
        "c": {"d": True},
    }


def test_what_a_terminal_would_obey_becomes_visible() -> None:
    text = "\x1b]0;owned\x07\x1b[31mred\x9b2J\r\x7f\u202e"
    shown = r"\x1b]0;owned\x07\x1b[31mred\x9b2J\r\x7f\u202e"
    assert parse_json(json.dumps({text: [text]})) == {shown: [shown]}
    assert parse_toml(f"a = {json.dumps(text)}".encode()) == {"a": shown}


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    (tmp_path / "a.toml").write_text("a = 1")
    assert read_table(tmp_path / "a.json") == read_table(tmp_path / "a.toml") == {"a": 1}
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(ValueError, match="it holds no table"):
        read_table(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(ValueError, match="larger than 64 MB"):
        read_json(tmp_path / "a.json")


def test_a_pipe_that_nobody_writes_to_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    for read in (read_json, read_toml):
        with pytest.raises(OSError, match="is no regular file"):
            read(tmp_path / "config.json")


@dataclass
class Point:
    x: int
    y: float = 0.0


def test_numbers_are_made_of_numbers_alone() -> None:
    assert convert({"x": 1, "y": 2, "z": "more"}, Point) == Point(1, 2.0)
    for table, message in (
        ({"x": "1"}, "'x': expected int, got str"),
        ({"x": True}, "'x': expected int, got bool"),
        ({"x": 1, "y": False}, "'y': expected float, got bool"),
        ({}, "lacks x"),
        ([], "Expected object, got array"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(table, Point)


@pytest.mark.parametrize("text", ['{"a": NaN}', b"[1, -Infinity]"])
def test_what_python_writes_for_no_number_is_named(text):
    with pytest.raises(ValueError, match="NaN or Infinity"):
        parse_json(text)
