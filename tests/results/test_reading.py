"""Runs to read, whoever wrote them."""

import pytest
from peer_cases import DATA
from record_cases import manifest, record

from headless_eval.errors import UserError
from headless_eval.results import RunDirectory, open_run, open_runs


@pytest.fixture
def folder(tmp_path):
    with RunDirectory.create(tmp_path / "run", manifest()) as run:
        run.append(record())
        run.finish(0)
    return tmp_path / "run"


def test_a_folder_of_a_run_stays_what_it_is(folder):
    run = open_run(folder)
    assert isinstance(run, RunDirectory)
    assert (run.notes, run.planned) == ((), 10)
    (folder / "eval_info.json").write_text("{}")  # whatever else lies in it
    assert isinstance(open_run(folder), RunDirectory)


def test_runs_of_ours_are_not_mixed_with_files(folder, tmp_path):
    with pytest.raises(UserError, match="several such files"):
        open_runs([folder, DATA / "lerobot_0.4.4" / "int8"])
    with pytest.raises(UserError, match="holds no run"):
        open_run(tmp_path / "none")


def test_a_name_before_the_path_is_no_part_of_it(folder, tmp_path):
    assert isinstance(open_run(f"a={folder}"), RunDirectory)
    odd = tmp_path / "a=b"
    folder.rename(odd)
    assert open_run(odd).path == odd
