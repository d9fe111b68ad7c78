"""Another baseline than float32, from config/run.py through results/ to report/ and the gate."""

import json
import shutil

import pytest

from headless_eval.cli.main import main
from headless_eval.config.run import RunConfig
from headless_eval.errors import UserError
from headless_eval.report import summarize_run
from headless_eval.report.compare import compare_two
from headless_eval.report.verdict import verdicts
from headless_eval.results import RunDirectory

BASELINE = "bfloat16_weights_only"
FLAGS = ["--tasks", "1", "--episodes", "2", "--dtypes", "float32", "boolean", "bfloat16", "--videos", "none"]


@pytest.fixture
def folder(tmp_path, short_episodes, droid_policy):
    folder = tmp_path / "run"
    fixed = ["--policy", droid_policy, "--results", str(folder), "--quiet"]
    assert main(["run", *FLAGS, "--baseline", BASELINE, *fixed]) == 0
    return folder


def test_the_baseline_runs_first_and_everything_compares_with_it(folder, tmp_path, capsys):
    run = RunDirectory.open(folder)
    names = [BASELINE, "float32", "boolean_weights_only"]
    assert (run.baseline, run.variants, run.manifest["settings"]["baseline"]) == (BASELINE, names, BASELINE)
    summary = summarize_run(run)
    assert [row.comparison is None for row in summary.overall] == [True, False, False]
    first, *others = verdicts(summary)
    assert (first.configuration, first.kind) == (BASELINE, "reference")
    for verdict in others:
        assert BASELINE in verdict.sentence
        assert "float32" not in verdict.sentence

    capsys.readouterr()
    assert main(["report", str(folder), "--detect", "0.5"]) == 0
    said = capsys.readouterr().out
    assert f"Δ {BASELINE}" in " ".join(said.split())
    assert "Δ float32" not in said
    assert "  float32 " in said
    page = (folder / "report.html").read_text()
    assert f"Difference to {BASELINE}" in page
    assert f"Against {BASELINE}" in page
    assert "to float32" not in page
    data = json.loads(page.partition('type="application/json">')[2].partition("</script>")[0])
    assert data["configurations"][data["baseline"]] == BASELINE

    main(["gate", str(folder), "--max-drop", "0.9"])
    judged = {line.split()[1]: line for line in capsys.readouterr().out.splitlines()}
    assert "what the others are compared with" in judged[BASELINE]
    assert "paired episodes" in judged["float32"]

    copy = shutil.copytree(folder, tmp_path / "copy")
    assert all(row.comparison.difference == 0 for row in compare_two(run, RunDirectory.open(copy)).rows)
    assert main(["compare", str(folder), str(copy)]) == 0
    assert main(["export", str(folder)]) == 0
    assert main(["verify", str(folder), "--sample", "2"]) == 0


def test_a_sequential_run_stops_against_its_baseline(tmp_path, short_episodes, droid_policy):
    folder = tmp_path / "run"
    fixed = ["--policy", droid_policy, "--results", str(folder), "--quiet", "--sequential", "0.5"]
    assert main(["run", *FLAGS, "--baseline", BASELINE, *fixed]) == 0
    run = RunDirectory.open(folder)
    stops = run.stopping().stops
    assert list(stops) == ["float32", "boolean_weights_only"]
    assert all(BASELINE in stop.sentence for stop in stops.values())
    assert set(run.manifest["sequential"]["configurations"]) == set(stops)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"baseline": "bfloat16"}, "unknown baseline 'bfloat16': did you mean bfloat16_weights_only"),
        ({"baseline": "int8_both"}, "unknown baseline 'int8_both'"),
        ({"dtypes": ("int8",), "sequential": 0.1}, "compares with float32, which is missing"),
    ],
)
def test_a_baseline_that_does_not_run_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        RunConfig(**{"dtypes": ("float32", "bfloat16"), **settings})


def test_without_float32_nothing_is_compared_by_default():
    config = RunConfig(dtypes=("int8", "bfloat16"))
    assert config.baseline == "float32"
    assert [variant.name for variant in config.variants] == ["int8_weights_only", BASELINE]
