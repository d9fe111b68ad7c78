"""The page that lists all runs below a folder."""

import json
import os
import re
import shutil
from html.parser import HTMLParser

import pytest
from record_cases import manifest, record

from headless_eval.cli.main import main
from headless_eval.report import build
from headless_eval.report.view import list_runs
from headless_eval.results import RunDirectory


def begun(folder, at):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started_at": at}))


@pytest.fixture
def runs(run_folder, tmp_path):
    """A folder with a whole run with its report, a killed one, an interrupted one, a broken one, and other files."""
    folder = tmp_path / "results"
    shutil.copytree(run_folder, folder / "whole")
    build(folder / "whole")
    begun(folder / "whole", "2026-11-20T10:00:00+00:00")
    for name, status in (("deep/killed", "running"), ("interrupted <b>", "interrupted")):
        with RunDirectory.create(folder / name, manifest(policy={"name": "other & <i>"})) as run:
            run.append(record())
            run.update_manifest(status=status)
    begun(folder / "deep" / "killed", "2026-11-22T10:00:00+00:00")
    begun(folder / "interrupted <b>", "2026-11-21T10:00:00+00:00")
    shutil.copytree(run_folder, folder / "broken")
    (folder / "broken" / "manifest.json").write_text("{")
    (folder / "web").mkdir()
    (folder / "web" / "manifest.json").write_text("{}")  # of something else
    return folder


def test_all_runs_are_listed_newest_first(runs):
    found = {run.path.name: run for run in list_runs(runs)}
    readable = [run.path.name for run in list_runs(runs) if run.status != "broken"]
    assert readable == ["killed", "interrupted <b>", "whole"]
    assert {name: run.status for name, run in found.items()} == {
        "whole": "finished",
        "killed": "killed",
        "interrupted <b>": "interrupted",
        "broken": "broken",
    }
    assert "not JSON" in found["broken"].problem
    counts = {one.name: one[1:] for one in found["whole"].variants}
    assert counts["float32"] == (8, 9, 1)
    assert counts["boolean_weights_only"] == (0, 5, 5)
    assert (found["killed"].ended, found["killed"].planned) == (1, 20)


def test_a_run_that_is_written_is_running(tmp_path):
    with RunDirectory.create(tmp_path / "run", manifest()):
        assert [run.status for run in list_runs(tmp_path)] == ["running"]
    with RunDirectory.open(tmp_path / "run", write=True):
        pass  # looking at the lock has left it free


def test_a_run_without_all_its_episodes_is_incomplete(tmp_path):
    with RunDirectory.create(tmp_path / "run", manifest()) as run:
        run.append(record())
        run.finish(0)
    assert [run.status for run in list_runs(tmp_path)] == ["incomplete"]


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.found += [value for name, value in attributes if name in ("href", "src")]


def test_the_page_links_the_reports_and_loads_nothing(runs, capsys):
    assert main(["view", str(runs)]) == 0
    assert capsys.readouterr().out == f"4 runs, 1 of them broken\n{runs / 'index.html'}\n"
    text = (runs / "index.html").read_text()
    page = Links(text)
    assert page.found == ["./whole/report.html"]
    assert not {"img", "link", "iframe", "i"} & set(page.tags)
    assert "other &amp; &lt;i&gt;" in text
    assert "interrupted &lt;b&gt;" in text
    assert re.search(r"default-src 'none'; script-src 'sha256-", text)
    assert main(["view", str(runs)]) == 0  # a list of runs may be replaced


def test_the_page_may_lie_elsewhere(runs, tmp_path):
    page = tmp_path / "pages" / "runs.html"
    page.parent.mkdir()
    assert main(["view", str(runs), "--output", str(page)]) == 0
    assert Links(page.read_text()).found == ["./../results/whole/report.html"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/no/such/folder"], "is not a folder"),
        (["{runs}/web"], "there is no run below"),
        (["{runs}", "--output", "{runs}/whole/report.html"], "is no list of runs"),
        (["{runs}", "--output", "{runs}/none/index.html"], "cannot write"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, words, runs, capsys):
    assert main(["view", *(word.format(runs=runs) for word in arguments)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said


def test_folders_whose_names_are_no_text_are_listed(runs, capsys):
    evil = os.fsdecode(os.fsencode(runs) + b"/a\xff\x1b[2J")
    shutil.copytree(runs / "whole", evil)
    assert main(["view", str(runs)]) == 0
    page = (runs / "index.html").read_text()
    assert r"a\udcff\x1b[2J" in page
    assert 'href="./a%FF%1B%5B2J/report.html"' in page
