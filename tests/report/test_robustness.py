"""What a sweep shows: cells, tests, sentences, tables."""

import csv
from dataclasses import replace

import pytest
from record_cases import TASKS, broken, manifest, record

from headless_eval.report.page import write_page
from headless_eval.report.robustness import PLAIN, Condition, robustness
from headless_eval.report.robustness_tables import robustness_listing, write_perturbations, write_robustness
from headless_eval.report.statistics import mcnemar_exact
from headless_eval.report.summary import summarize
from headless_eval.shared.terminal import new_console
from headless_eval.sims.perturbation import perturbed

PLAIN_TASK = TASKS[1]
DIM, CAMERA = Condition("light.dim", 0.6), Condition("camera", 2)
SWEPT = [
    PLAIN_TASK,
    *(perturbed(PLAIN_TASK, ((one.axis, one.size),)) for one in (DIM, CAMERA)),
    perturbed(PLAIN_TASK, (("camera", 2), ("light.dim", 0.6))),
]
FAILS = {("int4_both", 1): range(9), ("int4_both", 2): range(1), ("int8_both", 1): range(1)}
"""Episodes that fail, by variant and position of the task."""


def records(episodes=30):
    return [
        record(
            configuration=name,
            dtype=name.partition("_")[0],
            task_id=task.id,
            task_key=task.key,
            episode=episode,
            perturbation={"light.factor": 0.6} if place == 1 else None,
            **({"status": "failure", "success": False} if episode in FAILS.get((name, place), ()) else {}),
        )
        for name in ("float32", "int8_both", "int4_both")
        for place, task in enumerate(SWEPT)
        for episode in range(episodes)
    ]


MANIFEST = manifest(tasks=SWEPT)


@pytest.fixture(scope="module")
def found():
    return robustness(MANIFEST, records(), "float32")


def test_conditions_follow_the_axes_after_the_plain_task(found):
    assert found.conditions == (PLAIN, CAMERA, DIM)
    assert found.axes == {"camera": [CAMERA], "light.dim": [DIM]}


def test_cells_count_against_the_plain_task_and_the_baseline(found):
    cell = found.cells["int4_both", DIM]
    assert (cell.successes, cell.episodes) == (21, 30)
    assert (
        (cell.to_plain.lost, cell.to_plain.gained)
        == (cell.to_baseline.lost, cell.to_baseline.gained)
        == (9, 0)
    )
    assert cell.p_value == pytest.approx(mcnemar_exact(0, 9))
    assert found.cells["float32", DIM].to_baseline is None
    assert found.cells["int4_both", PLAIN].p_value is None


def test_the_interaction_is_tested_by_axis_with_holms_correction(found):
    tests = {(one.configuration, one.axis): one for one in found.tests}
    assert len(tests) == 4
    worst = tests["int4_both", "light.dim"]
    assert (worst.excess, worst.decided) == (pytest.approx(-0.3), "worse")
    assert worst.p_holm == pytest.approx(4 * mcnemar_exact(0, 9))
    assert tests["int4_both", "camera"].decided is None


def test_one_sentence_says_where_a_precision_fails_and_the_baseline_does_not(found):
    assert found.sentences() == {
        "int8_both": ("undecided", "is not shown to lose more than float32 under camera, light.dim."),
        "int4_both": (
            "worse",
            "fails where float32 does not: light.dim 0.6 (9 of 30 episodes lost, 0 gained, p = 0.016); "
            "not shown under camera.",
        ),
    }


def test_levels_of_an_axis_are_tested_together():
    tasks = [PLAIN_TASK, *(perturbed(PLAIN_TASK, (("light", level),)) for level in (1, 2))]
    made = [
        record(configuration=name, task_id=task.id, episode=episode)
        if name == "float32" or episode >= 2 * place
        else record(configuration=name, task_id=task.id, episode=episode, status="failure", success=False)
        for name in ("float32", "int4_both")
        for place, task in enumerate(tasks)
        for episode in range(20)
    ]
    (test,) = robustness(manifest(tasks=tasks), made, "float32").tests
    assert test.excess == pytest.approx(-6 / 40)
    assert test.p_value == pytest.approx(2 / 2**4)  # scores -2 -2 -1 -1


def test_errors_and_other_seeds_are_no_pairs():
    made = records()
    made = [
        broken(**vars_of(one)) if one.episode == 29 and one.configuration == "int4_both" else one
        for one in made
    ]
    made = [
        replace(one, seed=8) if one.episode == 28 and one.configuration == "float32" else one for one in made
    ]
    cell = robustness(MANIFEST, made, "float32").cells["int4_both", DIM]
    assert (cell.episodes, cell.to_baseline.pairs) == (29, 28)


def vars_of(one):
    return {name: getattr(one, name) for name in ("configuration", "dtype", "task_id", "task_key", "episode")}


def test_a_run_without_a_sweep_has_none(tmp_path):
    made = [one for one in records() if one.task_id == PLAIN_TASK.id]
    assert robustness(manifest(), made, "float32") is None
    assert robustness(manifest(tasks=SWEPT[1:2]), records(), "float32") is None
    write_perturbations(tmp_path / "perturbations.csv", manifest(), made)
    assert not list(tmp_path.iterdir())


def test_a_sweep_without_its_baseline_still_has_its_rates():
    made = [one for one in records() if one.configuration == "int4_both"]
    found = robustness(MANIFEST, made, "float32")
    assert (found.tests, found.cells["int4_both", DIM].successes) == ((), 21)
    assert found.sentences()["int4_both"][0] == "nothing"


def test_tables_hold_every_cell(found, tmp_path):
    write_robustness(tmp_path / "robustness.csv", found)
    with (tmp_path / "robustness.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    row = next(one for one in rows if (one["configuration"], one["axis"]) == ("int4_both", "light.dim"))
    assert (row["level"], row["successes"], row["lost_to_baseline"]) == ("0.6", "21", "9")
    assert float(row["axis_p_holm"]) == pytest.approx(4 * mcnemar_exact(0, 9))
    console = new_console()
    with console.capture() as captured:
        console.print(robustness_listing(found))
    text = captured.get()
    assert "21/30 (−30)" in text
    assert "int4_both fails where float32 does not" in " ".join(text.split())


def test_the_terminals_table_is_short_where_every_axis_has_one_row(found):
    assert len(robustness_listing(found).rows) == len(found.conditions)
    assert not robustness_listing(found).sections


def test_every_episode_is_exported_with_levels_and_drawn_numbers(tmp_path):
    write_perturbations(tmp_path / "perturbations.csv", MANIFEST, records(2))
    with (tmp_path / "perturbations.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 4 * 2
    dimmed = next(one for one in rows if one["task_key"] == "scene_1@light.dim=0.6")
    assert (dimmed["level light.dim"], dimmed["level camera"], dimmed["light.factor"]) == ("0.6", "0", "0.6")
    plain = next(one for one in rows if one["task_key"] == "scene_1")
    assert (plain["level light.dim"], plain["light.factor"], plain["status"]) == ("1.0", "", "success")


def test_the_page_links_the_files_of_a_sweep(found, tmp_path):
    summary = summarize("droid", records(2), "float32")
    for sweep in (found, None):
        write_page(tmp_path / "report.html", MANIFEST, summary, records(2), sweep=sweep)
        page = (tmp_path / "report.html").read_text()
        assert ('href="./robustness.csv"' in page) == (sweep is not None)
