"""``compare``, ``gate``, ``report`` and ``view`` with results of lerobot-eval and vla-eval."""

import csv
import json
import os
import re
from xml.etree import ElementTree

import pytest
from peer_cases import DATA, TASKS, eval_info, recording, write_eval_info
from record_cases import manifest

from headless_eval import read_run
from headless_eval.cli.main import main
from headless_eval.report.view import list_runs
from headless_eval.results import RunDirectory

NEW, OLD = DATA / "lerobot_0.4.4", DATA / "lerobot_0.3.3"
FILES = [str(NEW / "float32" / "eval_info.json"), str(NEW / "int8" / "eval_info.json")]


def contents(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture
def recordings(tmp_path):
    """Two recordings of 40 episodes, of which the second loses ten."""
    letters = {"float32": "s" * 40, "int8": "s" * 30 + "f" * 10}
    return [
        str(recording(tmp_path / name / "recording-x.sqlite", {TASKS[0]: of}, gain=gain))
        for (name, of), gain in zip(letters.items(), (0.5, 0.25), strict=True)
    ]


def test_a_report_of_two_files_goes_where_it_is_told_and_nowhere_else(tmp_path, capsys):
    before = contents(DATA)
    assert main(["report", *FILES]) == 2
    assert "say where to write with --output DIR" in capsys.readouterr().err
    output = tmp_path / "report"
    assert main(["report", *FILES, "--output", str(output), "--detect", "0.1"]) == 0
    assert contents(DATA) == before
    out = " ".join(capsys.readouterr().out.split())
    assert "13/18" in out
    assert "does not record seeds, initial states, actions" in out
    assert "Fisher's exact test" in out
    assert "McNemar" not in out
    assert "each needs this many episodes on each side" in out
    assert sorted(path.name for path in output.iterdir()) == [
        "outcomes.csv",
        "push-reach_results.csv",
        "push-reach_results.json",
        "report.html",
        "results.json",
        "success_rate_overall.png",
    ]


def test_the_page_says_what_is_missing_and_invents_no_number(tmp_path):
    main(["report", *FILES, "--output", str(tmp_path)])
    page = (tmp_path / "report.html").read_text()
    header, body = page.split("</header>", 1)
    assert "Read from lerobot-eval, which does not record seeds" in header
    assert "compared as independent samples" in header
    assert "seed None" not in page
    assert "0.00" not in re.search(r'<section aria-labelledby="time">.*?</section>', body, re.DOTALL)[0]
    assert "journal.jsonl" not in re.search("<footer>.*</footer>", page, re.DOTALL)[0]
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])
    block = next(one for one in data["blocks"] if one["c"] == 1)
    assert (block["seed"], block["max"]) == (None, None)
    assert set(block["steps"]) == set(block["tenths"]) == {None}
    assert block["alone"] == block["episode"]  # nothing is paired on the page
    with open(tmp_path / "push-reach_results.csv") as file:
        row = next(csv.DictReader(file))
    unknown = ("seed", "steps", "max_steps", "replans", "actions_sha256", "total_s", "dtype")
    assert {row[name] for name in unknown} == {""}


def test_the_user_may_say_that_episodes_are_the_same(tmp_path, capsys):
    assert main(["report", *FILES, "--output", str(tmp_path), "--assume-paired"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "McNemar's exact test" in out
    assert "are assumed to be the same (--assume-paired), which no seed shows" in out
    assert "are assumed to be the same" in (tmp_path / "report.html").read_text()


def test_recorded_seeds_pair_without_being_told(tmp_path, capsys):
    assert main(["report", str(OLD / "float32"), str(OLD / "int8"), "--output", str(tmp_path)]) == 0
    assert "McNemar's exact test" in capsys.readouterr().out
    data = re.search(
        r'<script id="data"[^>]*>(.*?)</script>', (tmp_path / "report.html").read_text(), re.DOTALL
    )[1]
    assert json.loads(data)["blocks"][0]["seeds"] == list(range(1000, 1008))


def test_compare_shows_rates_differences_and_actions_of_recordings(recordings, capsys):
    assert main(["compare", *recordings]) == 0
    out = capsys.readouterr().out
    assert re.search(r"40/40 .* 30/40 .* −25 \[", out)
    assert "McNemar's exact test" in out
    assert "at most" in out
    assert main(["compare", *recordings, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][-1]
    assert (row["paired"]["lost"], row["independent"]) == (10, None)
    assert row["divergence"]["largest"] == 0.5
    assert main(["compare", *FILES, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][-1]
    assert (row["paired"], row["independent"]["episodes"]) == (None, 18)


def test_compare_names_what_differs_between_recordings(tmp_path, capsys):
    files = [
        str(recording(tmp_path / f"recording-{seed}.sqlite", {TASKS[0]: "ss"}, seed=seed)) for seed in (7, 8)
    ]
    assert main(["compare", *files]) == 0
    out = capsys.readouterr().out
    assert "2 episodes of B are not paired with A's" in out
    assert "params.seed: 7 then, 8 now" in out


def test_the_gate_judges_pairs_and_independent_samples(recordings, tmp_path, capsys):
    junit = tmp_path / "gate.xml"
    assert main(["gate", *recordings, "--max-drop", "0.05", "--junit", str(junit)]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^failed +int8 .*-25.0 points .* over 40 paired episodes", out, re.MULTILINE)
    suite = ElementTree.parse(junit).getroot()
    assert suite.get("time") == "120.000"  # 80 episodes of 1.5 s
    assert main(["gate", *recordings, "--max-drop", "0.5"]) == 0
    capsys.readouterr()
    assert main(["gate", *FILES, "--max-drop", "0.3", "--junit", str(junit)]) == 1
    out = capsys.readouterr().out
    assert re.search(
        r"^inconclusive +int8 .* over 18 unpaired episodes on each side; about", out, re.MULTILINE
    )
    assert "compared as independent samples" in out
    assert "time" not in ElementTree.parse(junit).getroot().attrib  # not recorded


def test_the_gate_fails_what_is_not_whole(tmp_path, capsys):
    files = [
        write_eval_info(tmp_path / name / "eval_info.json", eval_info({"0": [True] * number}))
        for name, number in (("a", 40), ("b", 30))
    ]
    assert main(["gate", *map(str, files), "--assume-paired", "--max-drop", "0.5"]) == 1
    assert "30 of 40 episodes have run" in capsys.readouterr().out


def test_view_lists_files_with_their_rates_and_broken_ones_as_such(recordings, tmp_path, capsys):
    write_eval_info(tmp_path / "le" / "eval_info.json", eval_info({"0": [True, False]}))
    write_eval_info(tmp_path / "bad" / "eval_info.json", {})
    found = {str(run.path.relative_to(tmp_path)): run for run in list_runs(tmp_path)}
    assert {name: run.status for name, run in found.items()} == {
        "float32/recording-x.sqlite": "finished",
        "int8/recording-x.sqlite": "finished",
        "le/eval_info.json": "finished",
        "bad/eval_info.json": "broken",
    }
    assert found["le/eval_info.json"].variants[0][1:] == (1, 2, 0)
    assert main(["view", str(tmp_path)]) == 0
    assert "4 runs, 1 of them broken" in capsys.readouterr().out
    page = (tmp_path / "index.html").read_text()
    assert "report FILE --output DIR" in page
    assert (
        main(["report", recordings[1], "--output", str(tmp_path / "int8")]) == 0
    )  # asked for: beside the file
    main(["view", str(tmp_path)])
    assert 'href="./int8/report.html"' in (tmp_path / "index.html").read_text()


def test_python_reads_them_as_data_frames(recordings, tmp_path):
    run = read_run(NEW / "int8")
    assert run.episodes.seed.isna().all()
    assert run.episodes.success.mean() == pytest.approx(13 / 18)
    frame = read_run(recordings[0])
    assert frame.episodes.steps.tolist() == [3] * 40
    assert frame.actions(0).shape == (3, 2)
    assert run.report(tmp_path / "out").is_file()


def test_a_report_does_not_write_over_a_run_or_away_from_its_own(tmp_path, capsys):
    with RunDirectory.create(tmp_path / "run", manifest()):
        pass
    assert main(["report", str(tmp_path / "run"), "--output", str(tmp_path / "out")]) == 2
    assert "--output is for other evaluators' files" in capsys.readouterr().err
    assert main(["report", *FILES, "--output", str(tmp_path / "run")]) == 2
    assert "holds a run of its own" in capsys.readouterr().err


BAD = {
    "no JSON": b"{",
    "not UTF-8": b'{"per_task": "\xff"}',
    "deep": b'{"per_task": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "NaN": b'{"per_task": [], "overall": {"pc_success": NaN}}',
    "number of 400 digits": b'{"per_task": [], "overall": {"pc_success": 1' + b"0" * 400 + b"}}",
    "another file": b'{"benchmark": "LIBERO", "tasks": []}',
    "no SQLite file": b"SQLite format 3\x00" + b"\x00" * 2000,
    "empty": b"",
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("command", ["report", "compare", "gate"])
def test_a_bad_file_is_one_line_and_exit_2(command, bad, tmp_path, capsys):
    path = tmp_path / "bad" / "eval_info.json"
    path.parent.mkdir()
    path.write_bytes(BAD[bad])
    words = [command, str(path), FILES[1]] + (
        ["--output", str(tmp_path / "out")] if command == "report" else []
    )
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "eval_info.json of lerobot-eval nor a recording of vla-eval" in said
    assert os.listdir(tmp_path) == ["bad"]


def test_names_that_a_terminal_or_a_page_would_obey_are_harmless(tmp_path, capsys):
    name = "\x1b[2J<script>alert(1)</script>"
    path = recording(tmp_path / "recording-x.sqlite", {name: "sf"})
    assert main(["report", str(path), "--output", str(tmp_path / "out")]) == 0
    assert "\x1b[2J" not in capsys.readouterr().out
    assert "<script>alert(1)" not in (tmp_path / "out" / "report.html").read_text()
