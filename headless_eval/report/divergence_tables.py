"""The divergence from the baseline's own path as a table for the terminal and as a CSV file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headless_eval.report.csv_file import write_rows
from headless_eval.report.divergence import Along, Dimensions, Divergence, most_in, significant, when
from headless_eval.shared.terminal import Listing
from headless_eval.shared.text import plural


def divergence_table(found: Divergence) -> Listing:
    """Return what variants would have done on the baseline's path as a table for the terminal: a row per variant."""
    unit = f" {found.dimensions.unit}".rstrip()
    header = ["precision", f"error{unit}", "median", "largest", "most in", "when", "success", "path"]
    rows = []
    for one in found.variants:
        some = bool(one.rms)
        rows.append(
            [
                one.configuration,
                significant(one.rms),
                significant(one.median),
                significant(one.largest),
                found.dimensions.names[most_in(one, found.dimensions)] if some else "–",
                when(one) if some else "–",
                "–" if one.success is None else f"{100 * one.success[0]:.0f} %",
                "–" if one.path_ratio is None else f"×{one.path_ratio:.2f}",
            ]
        )
    most = max(found.variants, key=lambda one: one.replans)
    ranks = (
        f"Rank correlation of the error with the {one.what}: {one.rho:.2f} over {one.variants} precisions."
        for one in found.ranks
    )
    return Listing(
        header,
        rows,
        title=f"asked on the path of {found.baseline}, {plural(most.replans, 'replan')} of "
        f"{plural(most.episodes, 'episode')}",
        legend={
            f"error{unit}": "Error: root mean square over executed steps and the arm's dimensions, open loop.",
            "median": "Median: of the replans.",
            "success": "Success and path length (as a multiple): of its own episodes.",
        },
        note=" ".join([f"{found.sentence}." if found.sentence else "", *ranks]).strip(),
        spare=(("path",), ("when",), ("most in",), ("success",)),
    )


def write_divergence_csv(path: Path, found: Divergence) -> None:
    """Write ``divergence.csv``: a line per variant, episode and replan.

    ``time`` is the replan's place in the episode from 0 to 1; ``rms`` and ``largest`` are the arm's, in its unit; then
    come ``rms_<dimension>`` and ``largest_<dimension>``, each in its own unit.

    Raises:
        OSError: the file cannot be written; it is then unchanged.
    """
    dimensions = found.dimensions
    columns = [
        *("configuration", "task_key", "episode", "replan", "steps", "time", "phase", "rms", "largest"),
        *(f"{what}_{name}" for what in ("rms", "largest") for name in dimensions.names),
    ]
    write_rows(path, columns, (row for one in found.paths for row in _csv_rows(one, dimensions)))


def _csv_rows(one: Along, dimensions: Dimensions) -> Iterator[list[object]]:
    arm, number = one.arm(dimensions), len(one.steps)
    for replan in range(number):
        yield [
            *(one.configuration, one.record.task_key, one.record.episode, replan, int(one.steps[replan])),
            f"{(replan + 0.5) / number:.4f}",
            one.phases[replan] if one.phases else "",
            *(_cell(value) for value in (arm[replan], one.largest[replan, dimensions.arm].max())),
            *(_cell(value) for values in (one.rms, one.largest) for value in values[replan]),
        ]


def _cell(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else ""
