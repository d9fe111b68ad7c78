"""A run's folder that wishes ill, or changes while the run goes on (results/directory.py, shared/files.py).

Whatever is done with such a folder: nothing outside of it is written, emptied, deleted or sent.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from paths import ROOT

from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.export.table import export
from headless_eval.results import RunDirectory
from headless_eval.runs.resume import settings_of
from headless_eval.shared.files import Folder

PRECIOUS = "precious\n"


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def precious(tmp_path):
    """A folder with a file that a hostile folder aims at."""
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "file").write_text(PRECIOUS)
    (folder / ".file.mp4.part").write_text(PRECIOUS)
    yield folder
    assert sorted(path.name for path in folder.iterdir()) == [".file.mp4.part", "file"]
    assert {path.read_text() for path in folder.iterdir()} == {PRECIOUS}


def unfinished(folder):
    """Take the run's last episode away, so that there is something to continue."""
    journal = folder / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))


def error_of(capsys, *words):
    capsys.readouterr()
    assert main([*words, "--quiet"] if words[0] == "run" else [*words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize("name", ["journal.jsonl", "manifest.json"])
def test_a_journal_or_manifest_that_is_a_link_is_no_run(run, precious, capsys, name):
    unfinished(run)
    content = (run / name).read_bytes()
    (run / name).unlink()
    (run / name).symlink_to(precious / "file")
    assert "as files and not as links" in error_of(capsys, "run", "--resume", str(run))
    # Even where the link leads to what is expected.
    (run.parent / "elsewhere").write_bytes(content)
    (run / name).unlink()
    (run / name).symlink_to(run.parent / "elsewhere")
    assert "as files and not as links" in error_of(capsys, "run", "--resume", str(run))
    assert (run.parent / "elsewhere").read_bytes() == content


@pytest.mark.parametrize("kind", ["symlink_to", "hardlink_to"])
def test_actions_are_not_appended_to_the_end_of_a_link(run, precious, short_episodes, capsys, kind):
    unfinished(run)
    actions = run / "actions" / "float32.f32"
    actions.unlink()
    getattr(actions, kind)(precious / "file")
    word = "a link, and links are not followed" if kind == "symlink_to" else "a second name"
    assert word in error_of(capsys, "run", "--resume", str(run))
    assert len(RunDirectory.open(run).records()) == 5


@pytest.mark.parametrize("name", ["actions", "videos", "videos/float32"])
def test_a_folder_that_is_a_link_is_not_written_to(run, precious, short_episodes, capsys, name):
    unfinished(run)
    shutil.rmtree(run / name, ignore_errors=True)
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(precious)
    flags = () if name == "actions" else ("--videos", "all")
    said = error_of(capsys, "run", "--resume", str(run), *flags)
    assert "it is a link, and links are not followed" in said


def test_a_report_replaces_links_and_follows_none(run, precious):
    names = ["results.json", "droid_results.csv", "droid_results.json", "report.html"]
    for name in names:
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(precious / "file")
        for number in range(os.getpid() - 2, os.getpid() + 3):
            (run / f".{name}.{number}.tmp").symlink_to(precious / "file")
    assert main(["report", str(run)]) == 0
    export([run])
    assert all((run / name).is_file() and not (run / name).is_symlink() for name in names)


def test_nothing_is_removed_beyond_a_link(run, precious):
    shutil.rmtree(run / "videos", ignore_errors=True)
    (run / "videos").symlink_to(precious)
    with RunDirectory.open(run, write=True) as opened:
        opened.clean()


def test_a_pipe_in_place_of_a_file_hangs_nothing(run, capsys):
    actions = run / "actions" / "float32.f32"
    actions.unlink()
    os.mkfifo(actions)
    opened = RunDirectory.open(run)
    assert opened.actions(opened.records()[0]) is None
    (run / "journal.jsonl").unlink()
    os.mkfifo(run / "journal.jsonl")
    assert "holds no run" in error_of(capsys, "report", str(run))


@pytest.mark.parametrize("video", ["../precious/file", "/etc/passwd", "videos/link", "videos/inner/file"])
def test_a_video_elsewhere_is_none(run, precious, video):
    (run / "videos" / "float32").mkdir(parents=True)
    (run / "videos" / "link").symlink_to(precious / "file")
    (run / "videos" / "inner").symlink_to(precious)
    (run / "videos" / "float32" / "own.mp4").write_text("")
    opened = RunDirectory.open(run)
    record = opened.records()[0]
    assert opened.video(replace(record, video=video)) is None
    assert opened.video(replace(record, video="videos/float32/own.mp4")) == run / "videos/float32/own.mp4"


@pytest.mark.parametrize("name", ["../../precious/file", "/etc/passwd", "a\0b", ".."])
def test_a_variant_whose_name_leads_elsewhere_has_no_actions(run, precious, name):
    opened = RunDirectory.open(run)
    assert opened.actions(replace(opened.records()[0], configuration=name)) is None


def test_trackers_do_not_write_beyond_a_link(run, precious, capsys):
    pytest.importorskip("tensorboard")
    (run / "tensorboard").symlink_to(precious)
    assert main(["report", str(run), "--track", "tensorboard"]) == 0
    assert "is a link, and links are not followed" in capsys.readouterr().err


def test_the_label_of_a_matrix_is_a_name(tmp_path, precious, capsys):
    entry = {"label": "../precious", "axes": {}, "settings": {"policy": "random"}}
    (tmp_path / "matrix").mkdir()
    (tmp_path / "matrix" / "matrix.json").write_text(json.dumps({"runs": [entry]}))
    said = error_of(capsys, "run", "--resume", str(tmp_path / "matrix"))
    assert "label '../precious' is not the name of a folder" in said


# --- a folder that goes away

RENAMED = """
import os, shutil, sys
from headless_eval.cli.main import main
from headless_eval.results import RunDirectory

append, folder, how = RunDirectory.append, sys.argv[1], sys.argv[2]

def append_then_lose(run, record, actions=None):
    if record.episode == 1:
        os.rename(folder, folder + "-elsewhere") if how == "renamed" else shutil.rmtree(folder)
    append(run, record, actions)

RunDirectory.append = append_then_lose
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize("how", ["renamed", "deleted"])
def test_a_folder_that_goes_away_is_noticed_at_the_next_episode(tmp_path, how):
    folder = tmp_path / "run"
    flags = ["--policy", "random", "--dtypes", "float32", "--tasks", "1", "--episodes", "50", "--slots", "1"]
    command = [sys.executable, "-c", RENAMED, str(folder), how, "run", *flags, "--max-steps", "8"]
    command += ["--videos", "none", "--quiet", "--results", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    if how == "renamed":
        assert "was deleted or renamed while the run was writing to it" in done.stderr
        moved = RunDirectory.open(tmp_path / "run-elsewhere")
        assert [record.episode for record in moved.records()] == [0, 1]
        assert (moved.manifest["status"], moved.manifest["exit_status"]) == ("failed", 2)
        assert not folder.exists()
    else:
        assert "cannot be written" in done.stderr or "was deleted or renamed" in done.stderr
        assert not folder.exists()


def test_a_deleted_journal_is_noticed(run):
    record = RunDirectory.open(run).records()[0]
    with RunDirectory.open(run, write=True) as opened:
        (run / "journal.jsonl").unlink()
        with pytest.raises(UserError, match="was deleted or renamed"):
            opened.append(record)


def test_a_process_that_changes_its_folder_loses_nothing(run, tmp_path, monkeypatch):
    monkeypatch.chdir(run.parent)
    with RunDirectory.open("run", write=True) as opened:
        monkeypatch.chdir("/")
        opened.append(opened.records()[0])
        opened.update_manifest(more=1)
    assert RunDirectory.open(run).manifest["more"] == 1


def test_a_folder_is_the_same_after_another_takes_its_name(run, tmp_path):
    """The handle, and not the path, is what is written to."""
    with Folder(run) as folder:
        run.rename(tmp_path / "moved")
        run.mkdir()
        with folder.replacing("note") as file:
            file.write("text")
    assert (tmp_path / "moved" / "note").read_text() == "text"
    assert list(run.iterdir()) == []


def test_a_folder_chooses_neither_where_is_written_nor_what_is_sent(run):
    """Its manifest may name a folder for packed weights and trackers: they count where the user names them again."""
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["settings"] |= {"packdir": "/any/place", "track": ["wandb"], "results": "/any/place"}
    (run / "manifest.json").write_text(json.dumps(manifest))
    config = settings_of(run)
    assert (config.packdir, config.track, config.results) == (None, (), None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["report", "run"], 2, "cannot write the results to run: Permission denied"),
        (["run", "--resume", "run", "--quiet"], 2, "cannot write run/journal.jsonl: Permission denied"),
    ],
)
def test_a_folder_of_a_foreign_uid_is_read_and_told_of(run, words, status, said):
    """In a container often with neither a name nor a home; reading is all that this one may."""
    unfinished(run)
    may_read = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    become = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", *may_read]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME")
    }
    done = subprocess.run(
        [*become, sys.executable, "-m", "headless_eval", *words],
        cwd=run.parent,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (status, f"headless-eval: error: {said}\n")
