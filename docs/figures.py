"""Figures of the README: the images of the scenes, and tables of a run.

python docs/figures.py                 docs/images/scenes.png, docs/images/graded.png
python docs/figures.py results/RUN     also a table on stdout: success by dtype and mode, or, of graded tasks, success,
                                       error, time and reasons of failure by precision
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.errors import UserError
from headless_eval.quant.precision import MODES
from headless_eval.report import build
from headless_eval.report.run import Run, read_run
from headless_eval.report.summary import Summary
from headless_eval.report.tables import format_p
from headless_eval.sims.droid.precise.scenes import FAMILIES
from headless_eval.sims.registry import find_suite, find_tasks

IMAGES = Path(__file__).parent / "images"


def draw_scenes(suite: str, names: list[str], size: int) -> Image.Image:
    """Render the first state of each task's first episode at seed 7, exterior camera above wrist camera.

    Args:
        suite: name of the suite.
        names: the tasks' keys; empty for all.
        size: side of each picture in pixels.
    """
    tasks = find_tasks(find_suite(suite).load_tasks(), names)
    simulator = find_suite(suite).make(num_slots=len(tasks), frame_size=size)
    columns = []
    for slot, task in enumerate(tasks):
        simulator.reset(slot, task, TrialSeed(7, task.id, 0))
        columns.append(np.concatenate(np.split(simulator.frame(slot), 2, axis=1)))
    simulator.close()
    return Image.fromarray(np.concatenate(columns, axis=1))


def table(summary: Summary) -> str:
    """Return a Markdown table of success by dtype and mode: successes/episodes, over all tasks."""
    cells: dict[str, dict[str, str]] = {}
    for row in summary.overall:
        text = f"{row.successes}/{row.episodes}" + (f" + {row.errors} errors" if row.errors else "")
        row_cells = cells.setdefault(row.dtype, {})
        for mode in MODES if row.configuration == "float32" else (row.mode,):
            row_cells[mode] = text
    lines = ["| dtype | " + " | ".join(MODES) + " |", "| --- |" + " ---: |" * len(MODES)]
    lines += [
        f"| {dtype} | " + " | ".join(by_mode.get(mode, "") for mode in MODES) + " |"
        for dtype, by_mode in cells.items()
    ]
    return "\n".join(lines)


def graded_table(summary: Summary, run: Run) -> str:
    """Return a Markdown table with a row per precision: success, means of error and time, reasons of failure.

    In brackets the p-value of the paired difference, after Holm's correction.
    """
    outcomes = run.outcomes.set_index(["configuration", "outcome"])
    shown = {"final_error_mm": "off by, mm", "time_limited_s": "time, s", "path_length": "path, rad"}
    heads = ["precision", "success", *shown.values(), "fails by"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 2) + " --- |"]
    for row in summary.overall:
        cells = [
            row.configuration,
            _with_p(f"{row.successes}/{row.episodes}", row.comparison and row.comparison.p_holm),
        ]
        for name in shown:
            if row.comparison is None:
                cells.append(f"{outcomes.xs(name, level='outcome')['reference'].iloc[0]:.1f}")
            else:
                found = outcomes.loc[row.configuration, name]
                cells.append(_with_p(f"{found['mean']:.1f}", found["p_holm"]))
        failed = Counter(
            one.reason for one in run.records() if one.configuration == row.configuration and one.reason
        )
        cells.append(
            ", ".join(f"{reason.replace('_', ' ')} {count}" for reason, count in failed.most_common(3))
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _with_p(text: str, p_value: float | None) -> str:
    return text if p_value is None else f"{text} ({format_p(p_value)})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?", metavar="RUN", help="folder of a run")
    run = parser.parse_args().run
    IMAGES.mkdir(exist_ok=True)
    draw_scenes("droid", [], 320).save(IMAGES / "scenes.png", optimize=True)
    seen = [family(0, "", family.taught[1]).key for family in FAMILIES]
    draw_scenes("droid_precise", seen, 224).save(IMAGES / "graded.png", optimize=True)
    if run is not None:
        try:
            summary = build(run)
            print(
                graded_table(summary, read_run(run)) if summary.suite == "droid_precise" else table(summary)
            )
        except UserError as error:
            parser.error(str(error))
