"""The page's section on a sweep: what perturbations cost each variant, axis by axis."""

from headless_eval.report.page.heat import empty_cell, heat_table, shaded_cell
from headless_eval.report.page.markup import Markup, join, tag
from headless_eval.report.page.table import scrolling
from headless_eval.report.robustness import PLAIN, Cell, Condition, Robustness
from headless_eval.report.tables import format_points, p_text
from headless_eval.sims.perturbation import AXES

_SIGNS = {"worse": "▼", "better": "▲", "undecided": "○", "nothing": "–"}
_NARROW = 7  # columns whose heads are horizontal on a phone


def robustness_section(found: Robustness | None) -> Markup:
    """Return the section; nothing for a run without a sweep."""
    if found is None:
        return join()
    verdicts = [
        tag(
            "li",
            tag("span", _SIGNS[kind], class_="sign", aria_hidden="true"),
            tag("span", tag("b", name), " ", sentence),
            class_=kind,
        )
        for name, (kind, sentence) in found.sentences().items()
    ]
    note = (
        "Cells: % success. ▼ and ▲: the axis costs this precision more or less success than it costs "
        f"{found.baseline}, over the same episodes (exact test of the interaction by random signs, all levels of an "
        "axis together, 5 % after Holm's correction over all axes and precisions). robustness.csv has the numbers, "
        "perturbations.csv what each episode was perturbed by."
    )
    return tag(
        "section",
        tag("h2", "Robustness: precision by perturbation", id="robustness"),
        tag("ul", *verdicts, class_="verdicts") if verdicts else None,
        tag("div", *(_axis(found, axis, ones) for axis, ones in found.axes.items()), class_="charts axes"),
        tag("p", note, class_="note"),
        aria_labelledby="robustness",
    )


def _axis(found: Robustness, axis: str, conditions: list[Condition]) -> Markup:
    columns = [PLAIN, *conditions]
    heads = [
        tag("th", "plain" if one == PLAIN else f"{one.size:g}", scope="col", title=one.label)
        for one in columns
    ]
    tests = {one.configuration: one for one in found.tests if one.axis == axis}
    rows = {}
    for name in found.configurations:
        decided = None if name not in tests else tests[name].decided
        mark = {"worse": " ▼", "better": " ▲"}.get(decided or "", "")
        cells = [(one, found.cells.get((name, one))) for one in columns]
        rows[name] = [
            _cell(cell, f"{name}, {one.label}", "" if one == PLAIN else mark, found.baseline)
            for one, cell in cells
        ]
    said = [
        f"{name} {format_points(test.excess)} points, {p_text(test.p_holm)}" for name, test in tests.items()
    ]
    base, _, quantity = axis.partition(".")
    meaning = AXES[base].quantity(quantity).meaning if quantity else AXES[base].summary
    kind = "few" if len(columns) <= _NARROW else "some"
    return tag(
        "figure",
        tag("h3", axis, tag("small", meaning)),
        scrolling(heat_table(heads, rows, f"heat {kind} stacked"), f"Success along {axis}"),
        tag("figcaption", f"Beyond what it costs {found.baseline}: {'; '.join(said)}.") if said else None,
    )


def _cell(cell: Cell | None, name: str, mark: str, baseline: str) -> Markup:
    if cell is None:
        return empty_cell(f"{name}: not run")
    title = f"{name}: {cell.successes}/{cell.episodes}"
    for pair, what in ((cell.to_plain, "the plain task"), (cell.to_baseline, baseline)):
        if pair is not None:
            title += f"; against {what} {pair.lost} lost, {pair.gained} gained"
    return shaded_cell(cell.successes / cell.episodes, title, mark)
