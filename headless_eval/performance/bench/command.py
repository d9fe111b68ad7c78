"""The command ``headless-eval bench``: prints a table and writes files and a plot."""

import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from headless_eval.config.performance import BenchConfig
from headless_eval.errors import UserError
from headless_eval.performance.bench.measure import Bench, Row
from headless_eval.performance.bench.plot import latency_figure
from headless_eval.performance.cases import make_cases
from headless_eval.performance.chip import Chip
from headless_eval.performance.formatting import markdown, percent, scientific, significant, size
from headless_eval.performance.measured_model import MeasuredModel, measured_model_of, prompt_tokens
from headless_eval.performance.measured_policy import MeasuredPolicy
from headless_eval.performance.progress_bar import ProgressBar
from headless_eval.performance.result_files import new_folder, write_csv, write_json, write_text
from headless_eval.performance.timing import threads
from headless_eval.performance.workload import Workload
from headless_eval.policies.device import check_device
from headless_eval.policies.registry import check_engine
from headless_eval.quant.precision import configurations
from headless_eval.shared.terminal import Listing, new_console
from headless_eval.shared.untrusted import read_json

_FILE = "bench.json"
_HEADER = (
    "weights", "precision", "engine", "batch", "views", "ms", "× as it is", "5–95 %", "with copies",
    "chunks/s", "limit", "of limit", "warm-up", "memory", "error",
)  # fmt: skip
_NAMES = 3  # columns that are not numbers
_SETTINGS = 5  # columns that often are the same in all rows
# Columns left out on a narrow terminal, in this order.
_SPARE = (("5–95 %",), ("with copies",), ("limit",), ("chunks/s",), ("memory",), ("warm-up",))


def bench(config: BenchConfig) -> int:
    """Measure all rows, print the table and write the files.

    Returns:
        The exit status: 0, or 1 if a row failed for another reason than missing support or memory.

    Raises:
        UserError: a flag is not valid for every row, or nothing could be measured.
    """
    check_device(config.device)
    for engine in config.all_engines:
        for execution in config.executions:
            check_engine(engine, execution)
    measured = measured_model_of(config, config.random_weights)
    tokens = prompt_tokens(config.prompt_tokens, measured)
    workloads = [
        Workload(batch, number, tokens)
        for number in config.views or (measured.views,)
        for batch in config.batch
    ]
    engines = measured.engines or config.all_engines
    if config.engines and engines != config.engines:
        raise UserError(f"the policy {measured.name} is measured as a whole: leave out --engines")
    precisions = configurations(config.dtypes, config.modes)
    cases = make_cases(config.compute, precisions, config.executions, engines)
    before, earlier = _earlier(config.results) if config.append else ([], {})
    console = new_console()
    chip = Chip(torch.device(config.device))
    order: dict[tuple, Row] = {}
    # On a CPU a run computes each batch with one thread.
    with (
        new_folder(config.results, "bench", None if before else _FILE) as folder,
        threads(1),
        ProgressBar(console, Bench.units(len(cases), len(workloads))) as work,
    ):
        deadline = None if config.minutes is None else time.monotonic() + 60 * config.minutes
        measuring = Bench(measured, config.device, chip, config.repeats, work, deadline)
        try:
            for row in measuring.measure(cases, workloads):
                order[row.key] = row
        finally:  # finished rows are kept after an interruption
            planned = {row.key: row for row in measuring.planned(cases, workloads)}
            chip.rates = earlier.get("rates", {}) | chip.rates
            chip.bandwidth = chip.bandwidth or earlier.get("bandwidth", 0.0)
            # Rows have the order of the flags, not of the measurements.
            rows = list(({row.key: row for row in before} | planned | order).values())
            told = any(row.median_ms is not None or row.status.startswith("failed") for row in rows)
            if order and told:
                _write(folder, rows, chip, measured, _legend(rows, chip, config))
    if not told:
        reasons = "; ".join(dict.fromkeys(row.status for row in order.values()))
        raise UserError(f"nothing could be measured: {reasons}")
    order = planned | order
    console.print(_listing(list(order.values()), _title(measured), _legend(rows, chip, config)))
    for row in order.values():
        if row.status != "ok":
            console.print(f"{_case(row)}: {row.status}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{chip.sentence()}.", highlight=False, soft_wrap=True)
    print(folder)
    return int(any(row.status.startswith("failed") for row in order.values()))


def _title(measured: MeasuredModel | MeasuredPolicy) -> str:
    return f"{measured.name}: {measured.sizes}"


def _legend(rows: Sequence[Row], chip: Chip, config: BenchConfig) -> dict[str, str]:
    """Return explanations of the table, by column."""
    numbers = sorted({row.repeats for row in rows if row.repeats})
    repeats = " to ".join(str(number) for number in dict.fromkeys((*numbers[:1], *numbers[-1:]))) or "none"
    timed = (
        "CUDA events around sample_actions with the pictures on the device"
        if config.gpu is not None
        else "sample_actions, by the host's clock, one thread"
    )
    memory = (
        "peak beyond what was there"
        if config.gpu is not None
        else "the process's peak, with the models of other rows"
    )
    return {
        "ms": f"ms: median of {repeats}, {timed}.",
        "× as it is": "× as it is: beside the same engine without the precision.",
        "with copies": "With copies: from pictures on the host to actions on the host.",
        "of limit": "Limit: roofline of what must be computed and moved, at the speeds measured in this run.",
        "memory": f"Memory: {memory}.",
        "error": "Error: relative root mean square difference of the actions to float32 eager, same noise.",
    }


def _listing(rows: Sequence[Row], title: str, legend: dict[str, str]) -> Listing:
    """Return the table for the terminal; settings that all rows share are in its title."""
    cells = _cells(rows)
    same = [index for index in range(_SETTINGS) if len({row[index] for row in cells}) == 1]
    title += "".join(f", {_HEADER[index]} {cells[0][index]}" for index in same)
    kept = [index for index in range(len(_HEADER)) if index not in same]
    return Listing(
        [_HEADER[index] for index in kept],
        [[row[index] for index in kept] for row in cells],
        sum(index < _NAMES for index in kept),
        title,
        legend,
        spare=_SPARE,
    )


def _write(
    folder: Path,
    rows: Sequence[Row],
    chip: Chip,
    measured: MeasuredModel | MeasuredPolicy,
    legend: dict[str, str],
) -> None:
    write_csv(folder / "bench.csv", rows)
    content = {"model": measured.name, "config": measured.config, "chip": chip.describe(), "rows": list(rows)}
    write_json(folder / _FILE, content)
    note = " ".join([*legend.values(), f"{chip.sentence()}."])
    text = f"{_title(measured)}\n\n{markdown(_HEADER, _cells(rows), _NAMES)}\n{note}\n"
    write_text(folder / "bench.md", text)
    timed = [row for row in rows if row.median_ms is not None]
    if timed:
        latency_figure(folder / "bench.png", _title(measured), chip.name, timed)


def _earlier(folder: Path | None) -> tuple[list[Row], dict[str, Any]]:
    """Read the rows and the speeds of the chip of an earlier table; both are empty without an earlier table.

    Raises:
        UserError: the file is damaged.
    """
    if folder is None:
        raise UserError("--append adds to the table in a folder: name it with --results DIR")
    path = folder / _FILE
    if not path.exists():
        return [], {}
    known = {field.name for field in fields(Row)}
    try:
        content: dict[str, Any] = read_json(path)
        rows = [Row(**{name: row[name] for name in row if name in known}) for row in content["rows"]]
        chip = content["chip"]
        return rows, {"rates": dict(chip["matrix_flops"]), "bandwidth": float(chip["copy_bytes_per_s"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"cannot read {path} ({error}): choose another folder with --results") from None


def _case(row: Row) -> str:
    execution = "" if row.execution == "simulated" else f", {row.execution}"
    return f"{row.compute}, {row.precision}{execution}, {row.engine}, batch {row.batch}, {row.views} views"


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    plain = {_setting(row): row.median_ms for row in rows if row.precision == "float32"}
    return [_cells_of(row, plain.get(_setting(row))) for row in rows]


def _setting(row: Row) -> tuple:
    return row.compute, row.engine, row.batch, row.views, row.prompt_tokens


def _cells_of(row: Row, plain: float | None) -> list[str]:
    precision = "as it is" if row.precision == "float32" else row.precision
    names = [
        row.compute,
        precision + (" native" if row.execution == "native" else ""),
        row.computed_by,
        str(row.batch),
        str(row.views),
    ]
    if row.median_ms is None:
        reason = "no memory" if row.status == "out of memory" else "failed" if "failed" in row.status else "–"
        return [*names, reason, *["–"] * (len(_HEADER) - len(names) - 1)]
    return [
        *names,
        significant(row.median_ms),
        f"{row.median_ms / plain:.2f}" if plain else "–",
        f"{significant(row.p5_ms)}–{significant(row.p95_ms)}",
        significant(row.end_to_end_ms),
        significant(row.chunks_per_s),
        significant(row.limit_ms),
        percent(row.share),
        f"{significant(row.warmup_s)} s",
        size(row.peak_bytes),
        scientific(row.error),
    ]
