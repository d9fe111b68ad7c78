"""Runs, and variants of runs, beside each other."""

import json
import shutil

import pytest
from run_cases import nudge, tamper

from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.report.compare import compare_sides, compare_two
from headless_eval.report.sides import find_sides
from headless_eval.report.statistics import holm
from headless_eval.report.summary import summarize
from headless_eval.results import RunDirectory


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def compared(one, other):
    found = compare_two(RunDirectory.open(one), RunDirectory.open(other))
    return {row.task: row for row in found.rows}


def test_a_run_is_like_itself(finished, copy, capsys):
    rows = compared(finished, copy)
    assert list(rows) == ["scene_1", "scene_3", None]
    for row in rows.values():
        assert row.a == row.b
        assert row.comparison.difference == 0
        assert (
            row.comparison.pairs == row.divergence.pairs == row.divergence.identical == row.divergence.close
        )
        assert row.divergence.largest == 0
    assert rows[None].divergence.pairs == 6
    assert main(["compare", str(finished), str(copy)]) == 0
    assert "6/6" in capsys.readouterr().out


def test_the_step_where_actions_part_is_found(finished, copy):
    tamper(copy, 0, nudge)  # step 11 of a trial of scene_1
    row = compared(finished, copy)["scene_1"]
    assert (row.divergence.pairs, row.divergence.identical, row.divergence.close) == (3, 2, 2)
    assert row.divergence.first_step == row.divergence.apart_step == 11
    assert (
        row.divergence.first_replan == 11 // RunDirectory.open(copy).manifest["settings"]["open_loop_horizon"]
    )
    assert row.divergence.largest == pytest.approx(0.25)


def test_a_rounding_error_apart_is_close(finished, copy):
    def barely(actions):
        actions[3, 0] += 1e-4
        return actions

    tamper(copy, 0, barely)
    divergence = compared(finished, copy)["scene_1"].divergence
    assert (divergence.identical, divergence.close) == (2, 3)
    assert divergence.first_step == 3
    assert divergence.apart_step is None


def test_an_earlier_end_is_a_difference(finished, copy):
    tamper(copy, 1, lambda actions: actions[:9])
    divergence = compared(finished, copy)["scene_1"].divergence
    assert (divergence.identical, divergence.first_step, divergence.apart_step) == (2, 9, 9)


def test_successes_are_compared_in_pairs(finished, copy):
    journal = copy / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        if line["task_id"] == 1:
            line.update(success=not line["success"], status="failure" if line["success"] else "success")
            line.pop("reason", None)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = compared(finished, copy)
    flipped = rows["scene_1"]
    assert flipped.comparison.gained + flipped.comparison.lost == 3
    assert flipped.b.successes == 3 - flipped.a.successes
    assert rows["scene_3"].comparison.difference == 0


def test_episodes_of_other_seeds_are_no_pairs(finished, copy):
    journal = copy / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"seed":7', '"seed":8'))
    row = compared(finished, copy)["scene_1"]
    assert row.comparison is None
    assert row.divergence.pairs == 0
    assert row.b.episodes == 3


@pytest.mark.parametrize("columns", [None, "80"])
def test_the_tables_are_whole_at_any_width(finished, copy, capsys, monkeypatch, columns):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert main(["compare", str(finished), str(copy)]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert [line.split() for line in out.splitlines() if line.startswith("   scene_1")] == [
        ["scene_1", "0/3", "[0,", "56]", "0/3", "[0,", "56]", "0", "[−56,", "+56]", "1"],
        ["scene_1", "3/3", "–", "3/3", "–", "0"],
    ]


def test_without_pairs_there_is_no_second_table(finished, copy, capsys):
    journal = copy / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"seed":7', '"seed":8'))
    assert main(["compare", str(finished), str(copy)]) == 0
    out = capsys.readouterr().out
    assert "no actions to compare" in out
    assert "first replan" not in out


def test_json_holds_rows_and_differences(finished, copy, capsys):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["versions"]["numpy"] = "1.0"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert main(["compare", str(finished), str(copy), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["suite"] == "droid"
    assert [row["task"] for row in said["rows"]] == ["scene_1", "scene_3", None]
    assert said["rows"][0]["a"]["episodes"] == 3
    assert said["differences"][0]["name"] == "numpy"
    assert said["differences"][0]["b"] == "1.0"


def test_what_does_not_compare_is_one_line(finished, copy, tmp_path, capsys):
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"suite": "libero_goal"}))
    with pytest.raises(UserError, match="libero_goal"):
        compared(finished, copy)
    assert main(["compare", str(finished), str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def flipped(folder, target, *episodes):
    """Copy a run with other results in some episodes of scene 1."""
    shutil.copytree(folder, target)
    journal = target / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        if line["task_id"] == 1 and line["episode"] in episodes:
            line.update(success=not line["success"], status="failure" if line["success"] else "success")
            line.pop("reason", None)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return target


def test_many_runs_are_compared_each_with_each(finished, tmp_path, capsys):
    runs = [finished, flipped(finished, tmp_path / "one", 0), flipped(finished, tmp_path / "all", 0, 1, 2)]
    pairs = compare_sides(find_sides(list(map(str, runs))))
    assert [(pair.a.label, pair.b.label) for pair in pairs] == [("A", "B"), ("A", "C"), ("B", "C")]
    whole = [next(row for row in pair.rows if row.task is None).comparison for pair in pairs]
    assert [abs(one.difference) for one in whole] == pytest.approx([1 / 6, 3 / 6, 2 / 6])
    assert [one.p_holm for one in whole] == holm([one.p_value for one in whole])
    assert all(row.comparison.p_holm is None for pair in pairs for row in pair.rows if row.task is not None)

    with_first = compare_sides(find_sides(list(map(str, runs))), with_first=True)
    assert [(pair.a.label, pair.b.label) for pair in with_first] == [("A", "B"), ("A", "C")]

    assert main(["compare", *map(str, runs)]) == 0
    out = capsys.readouterr().out
    assert all(f"{label}  {path}" in out for label, path in zip("ABC", runs, strict=True))
    assert next(line.split()[:5] for line in out.splitlines() if "B − A" in line) == [
        "float32,",
        "B",
        "−",
        "A",
        "6",
    ]
    assert "Holm's correction over 3 comparisons" in out
    assert "…" not in out
    assert main(["compare", *map(str, runs), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said["sides"]) == ["A", "B", "C"]
    assert [pair["b"] for pair in said["pairs"]] == [str(runs[1]), str(runs[2]), str(runs[2])]


def test_any_variant_is_compared_with_any(run_folder, tmp_path, capsys):
    other = shutil.copytree(run_folder, tmp_path / "other:run")
    names = [f"{run_folder}:float32", f"{other}:int8"]  # by its dtype; and the folder's name has a colon
    (pair,) = compare_sides(find_sides(names))
    assert [row.configuration for row in pair.rows] == ["float32 → int8_both"] * 3
    within = summarize("droid", RunDirectory.open(run_folder).records()).row("int8_both").comparison
    found = pair.rows[-1].comparison
    assert (found.pairs, found.gained, found.lost) == (within.pairs, within.gained, within.lost)
    assert main(["compare", *names]) == 0
    assert f"B  {other}, int8_both" in capsys.readouterr().out
    # Beside a variant, a run stands for all of its variants.
    sides = find_sides([f"{other}:float32", str(run_folder)])
    assert [side.variant for side in sides] == ["float32", *RunDirectory.open(run_folder).variants]
    assert main(["compare", f"{other}:float32", str(run_folder), "--with-first"]) == 0
    assert "E − A" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["{run}"], "there is 1"),
        (["{run}:int9", "{run}"], "unknown variant of .*int9"),
        (["{run}:float32", "/no/such/run:float32"], "holds no run"),
        (["{run}:boolean_weights_only", "{run}:int7_both"], "did you mean"),
    ],
)
def test_sides_that_are_not_there_are_named(run_folder, names, words):
    with pytest.raises(UserError, match=words):
        find_sides([name.format(run=run_folder) for name in names])
