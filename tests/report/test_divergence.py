"""The divergence from the baseline, from errors that are made up: sizes, phases, ranks, and what is left out."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headless_eval.contracts.simulator import Task
from headless_eval.report import build
from headless_eval.report.divergence import (
    Divergence,
    dimensions_of,
    divergence_of,
    phases_of,
    significant,
)
from headless_eval.results import EpisodeRecord, RunDirectory

TASK = Task(1, "scene_1", "cube in bowl", "put the cube in the bowl", 450)
STEPS = 20


@pytest.fixture
def new(
    tmp_path: Path,
    run_maker: Callable[..., Path],
    record_maker: Callable[..., EpisodeRecord],
    error_adder: Callable[..., RunDirectory],
) -> Callable[..., RunDirectory]:
    def make(
        errors: dict[str, Callable[[int], np.ndarray]], own: dict[str, tuple[str, float]] | None = None
    ) -> RunDirectory:
        """``own``: outcomes of each variant's episodes as letters, and their path length; the baseline's is 2."""
        more = [
            replace(record_maker(name, TASK, number, letter), metrics={"path_length": length})
            for name, (letters, length) in (own or {}).items()
            for number, letter in enumerate(letters)
        ]
        folder = run_maker(tmp_path / "run", more, ["float32", *errors], [TASK])
        mine = [
            replace(
                record_maker("float32", TASK, number, "s"),
                steps=STEPS,
                metrics={"path_length": 2.0},
                initial_state_sha256=None,
            )
            for number in range(2)
        ]
        return error_adder(folder, mine, errors)

    return make


def found_in(run: RunDirectory) -> Divergence:
    from headless_eval.report.build import summarize_run

    found = divergence_of(run, run.records(), summarize_run(run))
    assert found is not None
    return found


def constant(size: float, joint: int = 3) -> Callable[[int], np.ndarray]:
    def error(steps: int) -> np.ndarray:
        errors = np.zeros((steps, 8))
        errors[:, joint] = size
        return errors

    return error


def late(size: float) -> Callable[[int], np.ndarray]:
    """Errors in all joints, in the last executed chunk alone, which has four steps."""

    def error(steps: int) -> np.ndarray:
        errors = np.zeros((steps, 8))
        errors[16:, :7] = size
        errors[16:, 1] = 1.01 * size
        return errors

    return error


def test_sizes_by_dimension_and_phase(new: Callable[..., RunDirectory]) -> None:
    found = found_in(new({"int8_both": constant(0.07), "int4_both": late(0.5)}))
    small, large = found.variants
    assert found.dimensions.unit == "rad"
    assert (small.episodes, small.replans, small.not_finite) == (2, 6, 0)
    # One of seven joints is off by 0.07; over steps the mean of squares is that over joints.
    assert small.rms == pytest.approx(0.07 / 7**0.5, rel=1e-5)
    assert small.median == pytest.approx(small.rms)
    assert small.largest == pytest.approx(0.07, rel=1e-5)
    assert small.by_dimension == pytest.approx([0, 0, 0, 0.07, 0, 0, 0, 0], rel=1e-5)
    assert set(small.by_phase) == {"grasp", "place"}
    assert small.by_phase["grasp"] == pytest.approx(small.rms)
    # Four of twenty steps: chunks are weighted by their executed steps.
    assert large.rms == pytest.approx(0.5 * 0.2**0.5, rel=2e-3)
    assert large.median == 0
    assert large.by_phase == pytest.approx({"grasp": 0.0, "place": 0.5}, rel=2e-3)
    assert (
        found.sentence
        == "On float32's own path int4_both departs most (0.22 rad, largest in joint 2 and while placing), "
        "int8_both least (0.026 rad)"
    )


def test_phases_are_told_by_the_gripper() -> None:
    command = np.zeros(48)
    command[18:34] = 1
    assert phases_of(command, 8) == ("approach", "grasp", "grasp", "carry", "place", "place")
    assert phases_of(np.zeros(20), 8) == ("approach",) * 3
    assert phases_of(np.ones(20), 8) == ("grasp", "carry", "carry")
    command[40:] = 1  # a second grasp, which lasts
    assert phases_of(command, 8) == ("approach", "grasp", "grasp", "carry", "grasp", "grasp")


def test_numbers_that_are_not_finite_are_counted_and_count_nowhere_else(
    new: Callable[..., RunDirectory],
) -> None:
    def broken(steps: int) -> np.ndarray:
        errors = constant(0.07)(steps)
        errors[9] = np.inf
        return errors

    run = new({"float16_both": broken, "boolean_both": lambda steps: np.full((steps, 8), np.nan)})
    part, whole = found_in(run).variants
    assert (part.replans, part.not_finite) == (6, 2)
    assert part.rms == pytest.approx(0.07 / 7**0.5, rel=1e-5)
    assert (whole.replans, whole.not_finite, whole.rms) == (6, 6, None)
    build(run.path)
    assert "6 of 6" in (run.path / "report.html").read_text()


def test_answers_of_another_episode_are_left_out(new: Callable[..., RunDirectory]) -> None:
    run = new({"int8_both": constant(0.07)})
    lines = (run.path / "divergence.jsonl").read_text().splitlines(keepends=True)
    other = lines[0].replace('"baseline_sha256":"', '"baseline_sha256":"x')
    (run.path / "divergence.jsonl").write_text(other + lines[1])
    assert [one.episodes for one in found_in(run).variants] == [1]
    (run.path / "divergence.jsonl").write_text(other)
    build(run.path)
    assert not (run.path / "divergence.csv").exists()


def test_a_chunk_of_any_length_costs_no_memory(new: Callable[..., RunDirectory]) -> None:
    run = new({"int8_both": constant(0.07)})
    lines = (run.path / "divergence.jsonl").read_text().replace('"horizon":8', '"horizon":2147483647')
    (run.path / "divergence.jsonl").write_text(lines)
    (found,) = found_in(run).variants
    assert (found.replans, found.rms) == (2, pytest.approx(0.07 / 7**0.5, rel=1e-5))


def test_ranks_need_five_variants_and_what_differs(new: Callable[..., RunDirectory]) -> None:
    sizes = {"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.04, "e": 0.05}
    lengths = {"a": 2.0, "b": 2.5, "c": 2.4, "d": 3.0, "e": 4.0}
    own = {name: ("ss", length) for name, length in lengths.items()}
    found = found_in(new({name: constant(size) for name, size in sizes.items()}, own))
    # Success is the same in all, so it has no rank; one neighbouring pair is swapped: 1 - 6 * 2 / (5 * 24).
    assert [(one.what, one.variants) for one in found.ranks] == [("path length", 5)]
    assert found.ranks[0].rho == pytest.approx(0.9)
    assert found.variants[3].path_ratio == pytest.approx(1.5)
    assert found.variants[3].success == (1.0, 1.0)


def test_four_variants_have_no_rank(new: Callable[..., RunDirectory]) -> None:
    sizes = {"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.04}
    found = found_in(
        new({name: constant(size) for name, size in sizes.items()}, {name: ("sf", 9) for name in sizes})
    )
    assert found.ranks == ()
    assert found.variants[0].success == (0.5, 1.0)


def test_what_is_written(new: Callable[..., RunDirectory]) -> None:
    run = new({"int8_both": constant(0.07), "int4_both": late(0.5)})
    summary = build(run.path)
    assert summary.divergence.startswith("On float32's own path int4_both departs most")
    assert summary.divergence in summary.notes
    with (run.path / "divergence.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 3
    assert [row["steps"] for row in rows[:3]] == ["8", "8", "4"]
    assert [row["phase"] for row in rows[:3]] == ["grasp", "grasp", "place"]
    assert float(rows[0]["rms_joint_4"]) == pytest.approx(0.07, rel=1e-5)
    assert float(rows[0]["rms_gripper"]) == 0
    before = {
        name: (run.path / name).read_bytes() for name in ("divergence.csv", "divergence.png", "report.html")
    }
    build(run.path)
    assert before == {name: (run.path / name).read_bytes() for name in before}


def test_what_the_manifest_says_is_missing_is_said(new: Callable[..., RunDirectory]) -> None:
    run = new({"int8_both": constant(0.07)})
    said = {"failed": {"int4_both": "RuntimeError: broken"}, "lost": ["episode 1 slipped"], "repeated": 3e-4}
    with RunDirectory.open(run.path, write=True) as writable:
        writable.update_manifest(divergence=said)
    notes = found_in(RunDirectory.open(run.path)).notes
    assert notes[:2] == ("int4_both was not asked: RuntimeError: broken", "episode 1 slipped")
    assert "float32 itself departed from its record by up to 3.0e-4" in notes[2]


def test_dimensions_of_robots() -> None:
    droid = dimensions_of("droid", 8)
    assert (droid.unit, droid.arm.tolist(), droid.gripper.tolist()) == ("rad", list(range(7)), [7])
    unknown = dimensions_of("nothing", 3)
    assert (unknown.unit, unknown.names) == ("", ("action_0", "action_1", "action_2"))
    assert (unknown.arm.tolist(), unknown.gripper.tolist()) == ([0, 1, 2], [])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0393, "0.039"), (0.00042, "4.2e-4"), (0.0, "0"), (None, "–"), (np.nan, "–"), (1.234, "1.2")],
)
def test_sizes_are_short(value: float | None, text: str) -> None:
    assert significant(value) == text
