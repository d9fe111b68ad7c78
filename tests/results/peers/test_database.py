"""SQLite files from anybody: read and nothing else."""

import os
import sqlite3

import pytest
from peer_cases import TASKS, recording

from headless_eval.results.peers.database import Database
from headless_eval.results.peers.vla_eval import read

LETTERS = {TASKS[0]: "sf"}
GENERATED = (
    "ALTER TABLE episode_results ADD COLUMN big GENERATED ALWAYS AS (hex(zeroblob(900000000))) VIRTUAL"
)
VIEW = (
    "ALTER TABLE episode_results RENAME TO hidden;"
    "CREATE VIEW episode_results AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
)
VIRTUAL = (
    "ALTER TABLE episode_results RENAME TO hidden; CREATE VIRTUAL TABLE episode_results USING fts5(sid, eid)"
)


def made(tmp_path, script=""):
    path = recording(tmp_path / "recording-x.sqlite", LETTERS)
    database = sqlite3.connect(path)
    database.executescript(script)
    database.close()
    return path


def test_reading_changes_neither_the_file_nor_its_folder(tmp_path):
    path = made(tmp_path)
    os.chmod(path, 0o444)
    os.chmod(tmp_path, 0o555)
    before = path.read_bytes(), path.stat().st_mtime_ns, tmp_path.stat().st_mtime_ns
    try:
        assert len(read(path).episodes) == 2
        assert (path.read_bytes(), path.stat().st_mtime_ns, tmp_path.stat().st_mtime_ns) == before
        assert os.listdir(tmp_path) == [path.name]
    finally:
        os.chmod(tmp_path, 0o755)


@pytest.mark.parametrize(
    "script", [VIEW, VIRTUAL, GENERATED], ids=["view", "virtual table", "computed column"]
)
def test_only_plain_tables_are_read(script, tmp_path):
    with pytest.raises(ValueError, match=r"no plain table episode_results|malformed"):
        read(made(tmp_path, script))


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM episode_results",
        "ATTACH '/etc/passwd' AS other",
        "SELECT load_extension('x')",
        "PRAGMA query_only = OFF",
        "SELECT sql FROM sqlite_master",
        "SELECT * FROM step_rows",
    ],
)
def test_no_query_does_more_than_read_the_tables(query, tmp_path):
    with pytest.raises(ValueError, match="damaged, or beyond the limits"):
        list(Database(made(tmp_path), ["episode_results"]).rows(query))


def test_a_huge_value_is_refused(tmp_path):
    script = "UPDATE episode_results SET failure_detail = zeroblob(5000000)"
    with pytest.raises(ValueError, match="too big"):
        read(made(tmp_path, script))


@pytest.mark.parametrize("ending", ["-journal", "-wal"])
def test_a_file_that_is_being_written_is_refused(ending, tmp_path):
    path = made(tmp_path)
    path.with_name(path.name + ending).write_bytes(b"x")
    with pytest.raises(ValueError, match="is being written"):
        read(path)


def test_text_that_is_not_utf_8_is_refused_without_repeating_it(tmp_path):
    script = "UPDATE episode_results SET failure_detail = CAST(x'610aff' AS TEXT)"
    with pytest.raises(ValueError, match=r"decode to UTF-8 column 'failure_detail'$"):
        read(made(tmp_path, script))


def test_a_file_that_is_cut_or_overwritten_is_refused(tmp_path):
    path = made(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(ValueError, match="damaged"):
        read(path)
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(ValueError, match="damaged"):
        read(path)


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "recording-x.sqlite")
    with pytest.raises(ValueError, match="no regular file"):
        Database(tmp_path / "recording-x.sqlite", ["episode_results"])
