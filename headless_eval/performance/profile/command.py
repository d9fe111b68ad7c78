"""The command ``headless-eval profile``: prints tables and writes files, a plot and a Chrome trace."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from headless_eval.config.performance import ProfileConfig
from headless_eval.errors import UserError
from headless_eval.performance.cases import Case
from headless_eval.performance.chip import Chip
from headless_eval.performance.formatting import markdown, percent, scientific, significant, size
from headless_eval.performance.measured_model import measured_model_of, prompt_tokens
from headless_eval.performance.profile.measure import (
    ModuleRow,
    Profile,
    Profiler,
    by_kind,
    most_different,
)
from headless_eval.performance.profile.plot import profile_figure
from headless_eval.performance.progress_bar import ProgressBar
from headless_eval.performance.result_files import new_folder, write_csv, write_json, write_text
from headless_eval.performance.spans import STEP
from headless_eval.performance.timing import threads
from headless_eval.performance.workload import Workload
from headless_eval.policies.device import check_device
from headless_eval.policies.registry import check_engine
from headless_eval.quant.precision import Precision
from headless_eval.shared.terminal import Listing, new_console

_MOST = 10
_LITTLE = 0.002  # share of an inference below which a kernel is not shown
# Columns left out on a narrow terminal, in this order.
_SPARE = (
    ("GFLOP",),
    ("weights",),
    ("weights error",),
    ("of it quantizer",),
    ("of limit",),
    ("limit ms",),
    ("share",),
)
_FILE = "profile.json"

Cells = list[list[str]]


def profile(config: ProfileConfig) -> int:
    """Profile one precision, or two side by side; print the tables and write the files.

    Returns:
        The exit status, 0.

    Raises:
        UserError: a flag is not valid for this policy.
    """
    check_device(config.device)
    check_engine(config.engine, config.execution)
    cases = _cases(config)
    measured = measured_model_of(config, config.random_weights)
    if not measured.in_torch:
        raise UserError(
            f"the policy {measured.name} computes in JAX, and times by module are known of torch's modules alone: "
            "measure it whole with bench"
        )
    tokens = prompt_tokens(config.prompt_tokens, measured)
    views = measured.views if config.views is None else config.views
    workload = Workload(config.batch, views, tokens)
    console = new_console()
    with (
        new_folder(config.results, "profile", _FILE) as folder,
        threads(1),
        ProgressBar(console, len(cases) * Profiler.units(config.repeats)) as work,
    ):
        chip = Chip(torch.device(config.device))
        profiler = Profiler(measured, config.device, workload, chip, config.repeats, work)
        profiles = [
            profiler.measure(case, folder / f"trace{'_' + case.precision.name if index else ''}.json.gz")
            for index, case in enumerate(cases)
        ]
        about = chip.sentence()
    title = f"{measured.name}, {config.compute}, batch {config.batch}, {views} views, {tokens} prompt tokens"
    tables = list(_tables(profiles))
    notes = [
        *(_sentence(one, config.gpu is not None) for one in profiles),
        *_caveats(profiles[0], config),
        about,
    ]
    _write(folder, title, profiles, tables, notes, chip)
    console.print(title, style="bold", highlight=False)
    for heading, header, left, rows in tables:
        console.print(Listing(header, rows, left, heading, spare=_SPARE))
    for note in notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    print(folder)
    return 0


def _cases(config: ProfileConfig) -> list[Case]:
    precision = Precision(config.dtype, config.mode)
    cases = [Case(config.compute, precision, config.execution, config.engine)]
    if config.compare is not None:
        other = Precision.parse(config.compare)
        execution = "simulated" if other.dtype == "float32" else config.execution
        cases.append(Case(config.compute, other, execution, config.engine))
    return cases


Table = tuple[str, list[str], int, Cells]


def _tables(profiles: Sequence[Profile]) -> Iterator[Table]:
    """Yield for each table: heading, header, number of text columns, and rows."""
    first, *rest = profiles
    yield _component_table(profiles)
    if first.parts:
        yield _part_table(first)
    if first.kernels:
        yield _kind_table(first)
        yield _kernel_table(first)
    if first.has_modules:
        costly = sorted(first.modules, key=_ms, reverse=True)[:_MOST]
        header = [
            "module",
            "part",
            "ms",
            "quantizer ms",
            "of limit",
            "GFLOP",
            "weights error",
            "output error",
        ]
        yield f"The {len(costly)} modules that cost most", header, 2, [_module_cells(row) for row in costly]
    else:
        wrong = sorted(first.modules, key=lambda row: -(row.activation_error or 0))[:_MOST]
        wrong = [row for row in wrong if row.activation_error]
        header = ["module", "part", "limit ms", "GFLOP", "weights error", "output error"]
        heading = f"The {len(wrong)} modules whose outputs are furthest from float32 (eager, simulated)"
        if wrong:
            yield heading, header, 2, [[*_module_cells(row)[:2], *_limits(row)] for row in wrong]
    if rest and first.has_modules and rest[0].has_modules:
        names = [one.case.precision.name for one in profiles[:2]]
        header = ["module", f"ms {names[0]}", f"ms {names[1]}", "difference", "of it quantizer"]
        heading = f"The {_MOST} modules that differ most"
        yield heading, header, 1, [_pair_cells(*pair) for pair in most_different(first, rest[0], _MOST)]


def _component_table(profiles: Sequence[Profile]) -> Table:
    first = profiles[0]
    header = [
        "component",
        "ms",
        "share",
        "limit ms",
        "of limit",
        "GFLOP",
        "weights",
        "weights error",
        "output error",
    ]
    others = [{row.component: row for row in one.components} for one in profiles[1:]]
    for one in profiles[1:]:
        header += [f"ms {one.case.precision.name}", "output error"]
    names = [row.component for row in first.components]
    known = {row.component: row for row in first.components}
    for other in others:
        names += [name for name in other if name not in names]
    rows: Cells = []
    total = max(first.times.median + _transforms(first), 1e-9)
    for name in names:
        row = known.get(name)
        cells = [name]
        if row is None:
            cells += ["–"] * 8
        else:
            cells += [
                significant(row.ms),
                percent(None if row.ms is None else row.ms / total),
                significant(row.limit_ms) if row.limit_ms else "–",
                percent(row.limit_ms / row.ms if row.ms and row.limit_ms else None),
                significant(row.flops / 1e9) if row.flops else "–",
                size(row.weight_bytes) if row.weight_bytes else "–",
                scientific(row.weight_error),
                scientific(row.activation_error),
            ]
        for other in others:
            their = other.get(name)
            cells += [significant(their.ms if their else None)]
            cells += [scientific(their.activation_error if their else None)]
        if any(cell != "–" for cell in cells[1:]):
            rows.append(cells)
    rows.append(_sum_cells(profiles))
    # Of an engine without modules there are no times of them to show.
    told = [
        0,
        *(index for index in range(1, len(header)) if any(row[index] not in ("–", "") for row in rows[:-1])),
    ]
    return (
        "Components",
        [header[index] for index in told],
        1,
        [[row[index] for index in told] for row in rows],
    )


def _sum_cells(profiles: Sequence[Profile]) -> list[str]:
    first = profiles[0]
    total = first.times.median + _transforms(first)
    modules = first.modules
    cells = [
        "all, with transforms",
        significant(total),
        "100 %",
        significant(sum(row.limit_ms for row in modules)),
        percent(sum(row.limit_ms for row in modules) / total),
        significant(sum(row.flops for row in modules) / 1e9),
        size(sum(row.weight_bytes for row in modules)),
        "",
        f"actions {scientific(first.error[0])}",
    ]
    for one in profiles[1:]:
        cells += [significant(one.times.median + _transforms(one)), f"actions {scientific(one.error[0])}"]
    return cells


def _transforms(of: Profile) -> float:
    return sum(row.ms or 0.0 for row in of.components if row.component.endswith("transforms"))


def _part_table(of: Profile) -> Table:
    steps = [ms for part, ms in of.parts.items() if part.startswith(STEP)]
    rows = [[part, "1", significant(ms), ""] for part, ms in of.parts.items() if not part.startswith(STEP)]
    if steps:
        span = (
            f"{significant(min(steps))}–{significant(max(steps))}"
            if of.has_modules
            else significant(steps[0])
        )
        rows.append([STEP, str(len(steps)), significant(sum(steps)), span])
    return "Parts of an inference", ["part", "times", "ms", "each"], 1, rows


def _kind_table(of: Profile) -> Table:
    """Yield the tables of kinds of kernels and of the engine's own ranges."""
    ranges: dict[str, float] = {}
    for row in of.kernels:
        ranges[row.within or "in no range"] = ranges.get(row.within or "in no range", 0.0) + row.ms
    rows = [
        [kind, significant(ms), percent(ms / of.times.median)] for kind, ms in by_kind(of.kernels).items()
    ]
    if len(ranges) > 1:
        rows += [
            [f"all {name}", significant(ms), percent(ms / of.times.median)] for name, ms in ranges.items()
        ]
    return (
        "Kernels by what their names say, and by the engine's own ranges",
        ["kernels", "ms", "share"],
        1,
        rows,
    )


def _kernel_table(of: Profile) -> Table:
    rows = [
        [
            row.kernel[:60],
            row.within[:24],
            str(row.calls),
            significant(row.ms),
            percent(row.ms / of.times.median),
        ]
        for row in of.kernels[: 2 * _MOST]
        if row.ms > _LITTLE * of.times.median
    ]
    heading = f"Kernels and operators of the engine {of.ran} that took most, as torch's profiler saw them"
    return heading, ["kernel", "within", "calls", "ms", "share"], 2, rows


def _ms(row: ModuleRow) -> float:
    return (row.ms or 0.0) + (row.quantizer_ms or 0.0)


def _module_cells(row: ModuleRow) -> list[str]:
    return [
        row.module or "(the model's own code)",
        row.part,
        significant(row.ms),
        significant(row.quantizer_ms) if row.quantizer_ms else "–",
        percent(row.limit_ms / row.ms if row.ms and row.flops else None),
        significant(row.flops / 1e9) if row.flops else "–",
        scientific(row.weight_error),
        scientific(row.activation_error),
    ]


def _limits(row: ModuleRow) -> list[str]:
    return [significant(row.limit_ms), *_module_cells(row)[5:]]


def _pair_cells(one: ModuleRow, other: ModuleRow) -> list[str]:
    rounding = (one.quantizer_ms or 0.0) - (other.quantizer_ms or 0.0)
    return [
        one.module or "(the model's own code)",
        significant(_ms(one)),
        significant(_ms(other)),
        significant(_ms(one) - _ms(other)),
        significant(rounding),
    ]


def _sentence(of: Profile, on_gpu: bool) -> str:
    name, times = of.case.precision.name, of.times
    of_processor = "" if on_gpu else " of the processor's time"
    return (
        f"{name}, {of.case.execution}, engine {of.ran}: {significant(times.median)} ms{of_processor} "
        f"({significant(times.p5)}–{significant(times.p95)}, {times.number} inferences), peak memory "
        f"{size(of.peak_bytes)}; actions differ from float32 eager by {scientific(of.error[0])} (rms, relative)"
    )


def _caveats(of: Profile, config: ProfileConfig) -> Iterator[str]:
    """Yield notes on the limits of the figures."""
    if not of.has_modules:
        yield (
            f"The engine {of.ran} calls no modules: times are those of its kernels or operators in one profiled "
            f"inference ({significant(sum(row.ms for row in of.kernels))} ms in all; being profiled costs a host "
            "time), and what was compiled into one shows as one. Flow steps are told from the rest by inferences with "
            "one step. Errors by module are the eager model's, simulated."
        )
    elif config.gpu is not None:
        yield (
            "Times by module are those of its kernels on the GPU in one profiled inference; what is left of the "
            "unprofiled time is waiting for the host."
        )
    else:
        yield "Times by module are medians and add up to an inference; what looking at them cost is subtracted."
    yield "Output errors hold what came before a module; those of a component are its worst module's."


def _write(
    folder: Path,
    title: str,
    profiles: Sequence[Profile],
    tables: Sequence[Table],
    notes: list[str],
    chip: Chip,
) -> None:
    first = profiles[0]
    write_csv(folder / "modules.csv", first.modules)
    write_csv(folder / "components.csv", first.components)
    if first.kernels:
        write_csv(folder / "kernels.csv", first.kernels)
    content = {
        "title": title,
        "chip": chip.describe(),
        "profiles": [{**asdict(one), "name": one.case.precision.name} for one in profiles],
        "notes": notes,
    }
    write_json(folder / _FILE, content)
    text = [f"# {title}\n"]
    text += [f"{heading}\n\n{markdown(header, rows, left)}" for heading, header, left, rows in tables]
    write_text(folder / "profile.md", "\n".join([*text, *notes, ""]))
    profile_figure(folder / "profile.png", title, profiles)
