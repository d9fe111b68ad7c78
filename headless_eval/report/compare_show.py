"""The command ``compare``: tables of a comparison for the terminal, or JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from headless_eval.config.results import CompareConfig
from headless_eval.report.compare import (
    APART,
    ComparedPair,
    ComparedRow,
    Divergence,
    Rate,
    compare_sides,
    overall,
    rate,
)
from headless_eval.report.comparison import Comparison, Paired, episodes_of, names_of_tests
from headless_eval.report.outcome_tables import explanation, outcome_cell, outcome_rows, shown_outcomes
from headless_eval.report.sides import Side, find_sides
from headless_eval.report.summary import explain_scopes
from headless_eval.report.tables import format_p, format_points
from headless_eval.results import EpisodeRecord, Readable
from headless_eval.shared.terminal import Listing, new_console
from headless_eval.shared.text import plural

_SHOWN_DIFFERENCES = 12


def print_comparison(settings: CompareConfig) -> int:
    """Compare runs, or variants of runs, and print tables or JSON; return the exit status, 0.

    Raises:
        UserError: a folder holds no run, a run has no such variant, the suites differ, or nothing is shared.
    """
    sides = find_sides(settings.runs, assume_paired=settings.assume_paired)
    pairs = compare_sides(sides, with_first=settings.with_first)
    if settings.json:
        print(json.dumps(_as_json(sides, pairs), indent=2))
        return 0
    console = new_console()
    for side in sides:
        named = "" if side.variant is None else f", {side.variant}"
        console.print(
            f"{side.label}  {side.run.path}{named}: {_what(side.run)}", highlight=False, soft_wrap=True
        )
    for note in dict.fromkeys(note for side in sides for note in side.run.notes):
        console.print(f"{note}.", highlight=False, soft_wrap=True)
    if len(sides) == 2:
        console.print(_rates(pairs[0]))
    else:
        console.print(_rates_of_many(sides))
        console.print(_pairs(pairs))
    if (outcomes := _outcomes(pairs)) is not None:
        console.print(outcomes)
    for pair in pairs:
        if strange := sum(row.unpaired for row in overall(pair.rows)):
            console.print(
                f"{plural(strange, 'episode')} of {pair.b.label} {'are' if strange > 1 else 'is'} not paired with "
                f"{pair.a.label}'s of the same number: seed or initial state differ.",
                highlight=False,
                soft_wrap=True,
            )
    if not any(row.divergence.pairs for pair in pairs for row in pair.rows):
        reason = "None of these episodes' actions were kept on both sides"
        if not any(isinstance(one, Paired) for one in _made(pairs)):
            reason = "No episode that is known to be of the same seed and initial state ended without an error in both"
        console.print(f"{reason}: there are no actions to compare.", highlight=False, soft_wrap=True)
    elif len(sides) == 2:
        console.print(_divergences(pairs[0]))
    scopes = {record.configuration: record.scope for side in sides for record in side.records}
    if scoped := explain_scopes(scopes):
        console.print(scoped, highlight=False, markup=False, soft_wrap=True)
    for pair in pairs:
        if pair.differences:
            console.print(
                f"What differs between {pair.a.label} (then) and {pair.b.label} (now):", highlight=False
            )
        for difference in pair.differences[:_SHOWN_DIFFERENCES]:
            console.print(f"  {difference}", highlight=False, soft_wrap=True)
        if len(pair.differences) > _SHOWN_DIFFERENCES:
            console.print(f"  and {len(pair.differences) - _SHOWN_DIFFERENCES} more (--json lists them)")
    return 0


def _what(run: Readable) -> str:
    """Return a description of a run in a few words."""
    manifest = run.manifest
    if run.notes:
        return f"{manifest['suite']}, {plural(len(manifest['tasks']), 'task')}"
    simulator, policy = manifest.get("simulator") or {}, manifest.get("policy") or {}
    words = [str(policy.get("name", "?")), "in", str(simulator.get("simulator", "?"))]
    if simulator.get("physics"):
        words.append(f"({simulator['physics']}, drawn by {simulator.get('renderer')})")
    return " ".join([*words, f"on {policy.get('device', '?')}, seed {manifest.get('seed')}"])


def _made(pairs: Sequence[ComparedPair]) -> list[Comparison]:
    """Return the comparisons over all tasks."""
    return [row.comparison for pair in pairs for row in overall(pair.rows) if row.comparison]


def _p_legend(made: Sequence[Comparison]) -> str:
    test = f"p: {names_of_tests(made)}"
    if len(made) < 2:
        return f"{test}."
    return f"{test}; over all tasks after Holm's correction over {len(made)} comparisons."


def _rates(pair: ComparedPair) -> Listing:
    made = _made([pair])
    return _listing(
        pair.rows,
        {
            "A": "Successes of episodes, in brackets 95 % intervals after Wilson in percent.",
            "B": "",
            "B − A": f"B − A: {episodes_of(made)}, percentage points, 95 % interval after Newcombe.",
            "p": _p_legend(made),
        },
        lambda row: [_shown_rate(row.a), _shown_rate(row.b), *_shown_difference(row.comparison)],
    )


def _rates_of_many(sides: Sequence[Side]) -> Listing:
    """Return a table with a column per side, and a row per variant with its tasks below it."""
    cells: dict[str, dict[tuple[str | None, str], list[EpisodeRecord]]] = {}
    for side in sides:
        for record in side.records:
            of = cells.setdefault("all" if side.variant else record.configuration, {})
            for task in (None, record.task_key):
                of.setdefault((task, side.label), []).append(record)
    rows: list[list[str]] = []
    sections = []
    for name, of in cells.items():
        tasks = list(dict.fromkeys(task for task, _ in of))
        sections.append(len(rows))
        for task in tasks if len(tasks) > 2 else [None]:
            shown = [rate(of.get((task, side.label), [])) for side in sides]
            rows.append([name if task is None else f"  {task}", *map(_shown_rate, shown)])
    legend = dict.fromkeys((side.label for side in sides), "")
    legend[sides[0].label] = "Successes of episodes, in brackets 95 % intervals after Wilson in percent."
    return Listing(
        ["task" if sides[0].variant else "precision, task", *legend],
        rows,
        legend=legend,
        sections=sections[1:],
    )


def _pairs(pairs: Sequence[ComparedPair]) -> Listing:
    """Return a table with a row per variant and pair of sides, over all tasks that both ran."""
    legend = {
        "pairs": f"Pairs: {episodes_of(_made(pairs))}, without errors in both.",
        "lost": "Lost, gained: succeed in the earlier alone, in the later alone.",
        "gained": "",
        "difference": "Difference: percentage points, 95 % interval after Newcombe.",
        "p": _p_legend(_made(pairs)),
        "same": "Same: actions equal to the last bit.",
        "close": f"Close: never apart by more than {APART:g} in an entry.",
    }
    rows: list[list[str]] = []
    styles, sections = [], []
    names: list[str | None] = [None]
    if pairs[0].a.variant is None:
        names = list(dict.fromkeys(row.configuration for pair in pairs for row in pair.rows))
    for name in names:
        sections.append(len(rows))
        for pair in pairs:
            for row in overall(pair.rows):
                if name is None or row.configuration == name:
                    label = f"{pair.b.label} − {pair.a.label}"
                    rows.append([label if name is None else f"{name}, {label}", *_shown_pair(row)])
                    decided = row.comparison.decided if row.comparison else None
                    styles.append({"worse": "red", "better": "green", None: ""}[decided])
    return Listing(["difference of", *legend], rows, legend=legend, sections=sections[1:], styles=styles)


def _outcomes(pairs: Sequence[ComparedPair]) -> Listing | None:
    """Return a table with a row per variant and pair of sides, over all tasks; None without outcomes."""
    made = [one for pair in pairs for one in pair.outcomes]
    if not made:
        return None
    outcomes = shown_outcomes(made)
    rows: list[list[str | Text]] = []
    for pair in pairs:
        found = {(one.configuration, one.outcome.name): one for one in pair.outcomes}
        for name in dict.fromkeys(one.configuration for one in pair.outcomes):
            label = name if len(pairs) == 1 else f"{pair.b.label} − {pair.a.label}"
            label = label if len(pairs) == 1 or pair.a.variant else f"{name}, {label}"
            rows.append([label, *(outcome_cell(found.get((name, one.name))) for one in outcomes)])
    return Listing(
        ["outcomes, B − A" if len(pairs) == 1 else "outcomes of", *(one.title for one in outcomes)],
        rows,
        note=explanation(made, "the earlier side"),
        spare=[{one.title} for one in reversed(outcomes[1:])],
    )


def _shown_pair(row: ComparedRow) -> list[str]:
    one, actions = row.comparison, row.divergence
    if one is None:
        return ["0", "", "", "no pair", "", "–", "–"]
    same, close = (
        [f"{number}/{actions.pairs}" for number in (actions.identical, actions.close)]
        if actions.pairs
        else "––"
    )
    counts = [str(one.lost), str(one.gained)] if isinstance(one, Paired) else ["–", "–"]
    return [str(one.number), *counts, *_shown_difference(one), same, close]


def _divergences(pair: ComparedPair) -> Listing:
    return _listing(
        pair.rows,
        {
            "same": "Executed actions of the same episodes. Same: to the last bit.",
            "first replan": "First replan: that of the first action that differs, median over the others.",
            "close": f"Close: never by more than {APART:g} in an entry.",
            "apart at": "Apart at: the first step with more, median over the others.",
            "at most": "At most: the largest difference.",
        },
        lambda row: _shown_divergence(row.divergence),
    )


def _listing(
    rows: Sequence[ComparedRow], legend: Mapping[str, str], cells: Callable[[ComparedRow], Sequence[str]]
) -> Listing:
    """Return a table in which a precision, with all its tasks together if they are several, is above its tasks."""
    header = ["precision, task", *legend]
    shown: list[list[str]] = []
    sections = []
    for configuration in dict.fromkeys(row.configuration for row in rows):
        of = {row.task: row for row in rows if row.configuration == configuration}
        whole = of.pop(None, None)
        sections.append(len(shown))
        shown.append([configuration, *(cells(whole) if whole else [""] * len(legend))])
        shown += [[f"  {task}", *cells(row)] for task, row in of.items()]
    return Listing(header, shown, legend=legend, sections=sections[1:])


def _shown_rate(rate: Rate) -> str:
    if rate.interval is None:
        return "–" + (f", {rate.errors} errors" if rate.errors else "")
    low, high = rate.interval
    errors = f", {rate.errors} errors" if rate.errors else ""
    return f"{rate.successes}/{rate.episodes} [{100 * low:.0f}, {100 * high:.0f}]{errors}"


def _shown_difference(one: Comparison | None) -> tuple[str, str]:
    if one is None:
        return "no pair", ""
    low, high = one.interval
    return (
        f"{format_points(one.difference)} [{format_points(low)}, {format_points(high)}]",
        format_p(one.p_value if one.p_holm is None else one.p_holm),
    )


def _shown_divergence(divergence: Divergence) -> tuple[str, ...]:
    if not divergence.pairs:
        return ("–",) * 5
    replan = "–" if divergence.first_replan is None else f"{divergence.first_replan:g}"
    step = "–" if divergence.apart_step is None else f"step {divergence.apart_step:g}"
    return (
        f"{divergence.identical}/{divergence.pairs}",
        replan,
        f"{divergence.close}/{divergence.pairs}",
        step,
        f"{divergence.largest:.2g}",
    )


def _as_json(sides: Sequence[Side], pairs: Sequence[ComparedPair]) -> dict[str, Any]:
    suite = {"suite": sides[0].run.manifest["suite"]}
    if len(sides) == 2:
        return suite | _pair_as_json(pairs[0])
    named = {side.label: {"run": str(side.run.path), "variant": side.variant} for side in sides}
    return suite | {"sides": named, "pairs": [_pair_as_json(pair) for pair in pairs]}


def _pair_as_json(pair: ComparedPair) -> dict[str, Any]:
    return {
        "a": str(pair.a),
        "b": str(pair.b),
        "rows": [_row_as_json(row) for row in pair.rows],
        "outcomes": outcome_rows(pair.outcomes),
        "differences": [
            {"section": one.section, "name": one.name, "a": one.then, "b": one.now}
            for one in pair.differences
        ],
    }


def _row_as_json(row: ComparedRow) -> dict[str, Any]:
    """Return a row whose comparison is ``paired`` or ``independent``, the other being None."""
    found = _jsonable(asdict(row))
    one = found.pop("comparison")
    paired = isinstance(row.comparison, Paired)
    return found | {"paired": one if paired else None, "independent": None if paired else one}


def _jsonable(value: Any) -> Any:
    """Return a value with all tuples (intervals) within it as lists."""
    if isinstance(value, dict):
        return {key: _jsonable(entry) for key, entry in value.items() if key != "detectable"}
    return list(value) if isinstance(value, tuple) else value
