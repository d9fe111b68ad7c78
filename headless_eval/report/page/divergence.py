"""The page's section on the divergence from the baseline's own path: a plot, tables, and a strip per episode."""

import math
import string
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from headless_eval.report.charts import COLOURS
from headless_eval.report.divergence import BINS, Along, Diverged, Divergence, most_in, significant, when
from headless_eval.report.page.drawings import AXIS, swatch
from headless_eval.report.page.markup import Markup, join, percent, tag
from headless_eval.report.page.table import scrolling, table
from headless_eval.shared.text import plural

STRIPS = 6
"""Episodes that are shown as strips; all are in the CSV file."""

MOST_CHARACTERS = 2_000_000
"""Limit of the characters of all strips in the table of episodes."""

_LETTERS = string.digits + string.ascii_lowercase
_HEIGHT, _TOP = 200, 14
_FITTING = 11  # dimensions that fit on a phone beside each other


def divergence_section(found: Divergence | None) -> Markup:
    """Return the section with its heading; nothing if no variant was asked."""
    if found is None:
        return Markup("")
    heading = tag("h2", f"Asked on the path of {found.baseline}", id="divergence")
    unit = _unit(found)
    intro = (
        f"At every replan of {found.baseline}'s own episodes each precision was asked what it would do, with the same "
        f"observation and the same noise; nothing of it was executed. Errors are root mean squares over the executed "
        f"steps of a chunk and the arm's dimensions{unit}: its action minus that of {found.baseline}."
    )
    parts = [heading]
    if found.sentence:
        parts.append(tag("p", f"{found.sentence}."))
    parts.append(tag("p", intro, class_="note"))
    if any(one.rms for one in found.variants):
        parts.append(tag("div", along_chart(found), class_="charts"))
    parts += [_overview(found), _by_dimension(found), _strips(found)]
    notes = [*(f"{note}." for note in found.notes), *_about_ranks(found)]
    if notes:
        parts.append(tag("p", " ".join(notes), class_="note"))
    return tag("section", *parts, aria_labelledby="divergence")


def strip_data(found: Divergence | None) -> dict[str, Any] | None:
    """Return what the page's table of episodes draws a strip of, by dimension and replan; None if there is nothing.

    Returns:
        ``dims`` are the dimensions' names, ``low`` and ``high`` powers of ten; ``paths`` has by variant, task's key and
        episode a text per dimension with a character per replan: ``0`` to ``z`` in 36 steps from ``low`` to ``high``,
        and ``-`` where there is no finite number.
    """
    if found is None:
        return None
    scale = _LogScale([float(value) for one in found.paths for value in one.rms.ravel()])
    paths: dict[str, dict[str, dict[int, list[str]]]] = {}
    room = MOST_CHARACTERS
    for one in found.paths:
        room -= one.rms.size
        if room < 0:
            break
        by_task = paths.setdefault(one.configuration, {}).setdefault(one.record.task_key, {})
        by_task[one.record.episode] = ["".join(map(scale.letter, values)) for values in one.rms.T.tolist()]
    return {"dims": list(found.dimensions.names), "low": scale.low, "high": scale.high, "paths": paths}


def along_chart(found: Divergence) -> Markup:
    """Draw the error along the episode: per variant the median of the replans with their quartiles, on a log scale."""
    shown = _shown(found)
    scale = _LogScale([value for one in shown for value in one.along.ravel()], whole=True)
    marks = [mark for power in scale.powers for mark in _decade(scale, power)]
    for index, one in enumerate(shown):
        marks += _bands(one, index, scale)
    for index, one in enumerate(shown):
        marks += _median(one, index, scale)
    for share, text, anchor in (
        (0, "start", "start"),
        (0.5, "half of its replans", "middle"),
        (1, "end", "end"),
    ):
        marks.append(tag("text", text, x=percent(share), y=_TOP + _HEIGHT + 16, text_anchor=anchor))
    described = "; ".join(f"{one.configuration} {significant(one.rms)}" for one in shown)
    drawing = tag(
        "svg",
        *marks,
        role="img",
        height=_TOP + _HEIGHT + AXIS,
        class_="chart along",
        aria_label=f"Error along the episode{_unit(found)}, overall: {described}",
    )
    legend = tag(
        "ul",
        *(tag("li", swatch(f"c{index}"), one.configuration) for index, one in enumerate(shown)),
        class_="legend",
    )
    drawn = {one.configuration for one in shown}
    left_out = [one.configuration for one in found.variants if one.configuration not in drawn]
    caption = "Lines: median over replans; bands: their quartiles; log scale."
    caption += f" In the tables alone: {', '.join(left_out)}." if left_out else ""
    episodes = max((one.episodes for one in shown), default=0)
    counts = f"{episodes} episodes of {found.baseline}" + (
        f", {found.dimensions.unit}" if _unit(found) else ""
    )
    heading = tag("h3", "Error along the episode", tag("small", counts))
    return tag("figure", heading, legend, drawing, tag("figcaption", caption))


class _LogScale:
    """Places of sizes on a log scale.

    Args:
        values: it reaches to the largest of them, from the one that a twentieth is below.
        whole: let it reach over all, from a power of ten to another.
    """

    def __init__(self, values: Sequence[float], *, whole: bool = False) -> None:
        known = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
        # Single replans that agree by chance would take most of the scale.
        low, high = math.log10(min(known) if whole else np.quantile(known, 0.05)), math.log10(max(known))
        if whole:
            low, high = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
        self.low, self.high = low, high

    @property
    def powers(self) -> range:
        """The powers of ten that it reaches over."""
        return range(math.ceil(self.low), math.floor(self.high) + 1)

    def share(self, value: float) -> float:
        """Return a size's place from 0 to 1."""
        if value <= 0 or self.high == self.low:
            return 0.0
        return min(1.0, max(0.0, (math.log10(value) - self.low) / (self.high - self.low)))

    def letter(self, value: float) -> str:
        """Return a size's place as one of 36 characters, ``-`` for one that is not finite."""
        return _LETTERS[round((len(_LETTERS) - 1) * self.share(value))] if math.isfinite(value) else "-"

    def y(self, value: float) -> float:
        return _TOP + _HEIGHT * (1 - self.share(value))


def _shown(found: Divergence) -> list[Diverged]:
    return [one for one in found.variants if one.rms is not None][:COLOURS]


def _decade(scale: _LogScale, power: int) -> list[Markup]:
    y = scale.y(10.0**power)
    return [
        tag("line", x1="0%", x2="100%", y1=y, y2=y, class_="grid"),
        tag("text", f"{10.0**power:g}", x="0%", y=y - 3),
    ]


def _bands(one: Diverged, colour: int, scale: _LogScale) -> list[Markup]:
    marks = []
    for part, (low, _, high) in enumerate(one.along):
        if not math.isnan(low):
            top, bottom = scale.y(high), scale.y(low)
            place = {"x": percent(part / BINS), "width": percent(1 / BINS), "y": top, "height": bottom - top}
            marks.append(tag("rect", **place, class_=f"c{colour}", fill_opacity=0.16))
    return marks


def _median(one: Diverged, colour: int, scale: _LogScale) -> list[Markup]:
    known = [(part, row[1]) for part, row in enumerate(one.along) if not math.isnan(row[1])]
    points = [(percent((part + 0.5) / BINS), scale.y(value)) for part, value in known]
    marks = [
        tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=f"c{colour}")
        for (x1, y1), (x2, y2) in pairwise(points)
    ]
    for (part, value), (x, y) in zip(known, points, strict=True):
        said = (
            f"{one.configuration}, {100 * part // BINS} to {100 * (part + 1) // BINS} %: {significant(value)}"
        )
        marks.append(tag("circle", tag("title", said), cx=x, cy=y, r=2.5, class_=f"c{colour}"))
    return marks


def _overview(found: Divergence) -> Markup:
    """Return the table of the variants' errors beside what came of their own episodes."""
    success = any(one.success for one in found.variants)
    ratio = any(one.path_ratio for one in found.variants)
    broken = any(one.not_finite for one in found.variants)
    heads = ["Precision", f"Error{_unit(found)}", "Median", "Largest", "Most in", "When"]
    heads += [f"Success vs {found.baseline}"] if success else []
    heads += ["Path length"] if ratio else []
    heads += ["Replans without a number"] if broken else []
    rows = []
    for one in found.variants:
        some = bool(one.rms)
        cells: list[tuple[str, str | None]] = [
            (significant(one.rms), "number"),
            (significant(one.median), "number"),
            (significant(one.largest), "number"),
            (found.dimensions.names[most_in(one, found.dimensions)] if some else "–", None),
            (when(one) if some else "–", None),
        ]
        if success:
            rates = (
                "not run"
                if one.success is None
                else " vs ".join(f"{100 * rate:.0f} %" for rate in one.success)
            )
            cells.append((rates, "number"))
        if ratio:
            cells.append(("–" if one.path_ratio is None else f"× {one.path_ratio:.2f}", "number"))
        if broken:
            cells.append((f"{one.not_finite} of {one.replans}" if one.not_finite else "", "number bad"))
        rows.append((one.configuration, cells))
    note = "Error: over all replans; median: of the replans, where a few large ones do not count"
    note += (
        ". Success and path length: of its own episodes, over the same ones as the baseline's"
        if success
        else ""
    )
    return join(
        scrolling(table("numbers", heads, rows), "Divergence by precision"),
        tag("p", f"{note}.", class_="note"),
    )


def _by_dimension(found: Divergence) -> Markup:
    """Return the table of variants by dimensions, each row shaded by its own largest value of the arm."""
    dimensions = found.dimensions
    arm = set(dimensions.arm.tolist())
    columns = list(enumerate(dimensions.names))
    classes = "heat fine " + ("stacked some" if len(columns) < _FITTING else "many")
    heads = [tag("th", "arm", scope="col", title="root mean square over the arm's dimensions")]
    heads += [tag("th", _short(name), scope="col", title=_titled(found, index)) for index, name in columns]
    rows = []
    for one in found.variants:
        most = max(float(one.by_dimension[index]) for index in arm)
        cells = [_cell(f"{one.configuration}, arm", one.rms or 0.0, 0.0)]
        for index, name in columns:
            value = float(one.by_dimension[index])
            share = value / most if index in arm and most and math.isfinite(value) else 0.0
            cells.append(_cell(f"{one.configuration}, {name}", value, share))
        rows.append(tag("tr", tag("th", one.configuration, scope="row"), *cells))
    drawn = tag("table", tag("thead", tag("tr", tag("td"), *heads)), tag("tbody", *rows), class_=classes)
    others = "; the gripper from 0 open to 1 closed" if dimensions.gripper.size else ""
    note = f"Root mean square of each dimension{_unit(found)}{others}. Shaded within a row."
    return join(
        tag("h3", "Which dimension of the action"),
        scrolling(drawn, "Divergence by dimension"),
        tag("p", note, class_="note"),
    )


def _cell(name: str, value: float, share: float) -> Markup:
    opacity = 0.06 + 0.94 * share
    shown = significant(value).removeprefix("0") or "0"
    look = "strong" if opacity > 0.78 else None
    drawn = tag(
        "svg",
        tag("title", f"{name}: {significant(value)}"),
        tag("rect", width="100%", height="100%", rx=3, class_="cell", fill_opacity=opacity),
        tag("text", shown, x="50%", y=18, text_anchor="middle", class_=look),
        height=28,
    )
    return tag("td", drawn)


def _strips(found: Divergence) -> Markup:
    """Return a strip per episode: a row per variant, a box per replan, shaded by the error's logarithm."""
    episodes: dict[tuple[int, int], list[Along]] = {}
    for one in found.paths:
        episodes.setdefault((one.record.task_id, one.record.episode), []).append(one)
    sizes = [one.arm(found.dimensions) for one in found.paths]
    scale = _LogScale([float(value) for values in sizes for value in values])
    chosen = sorted(episodes, key=lambda place: (place[1], place[0]))[:STRIPS]
    drawn = [_strip(episodes[place], found, scale) for place in sorted(chosen)]
    more = len(episodes) - len(chosen)
    low, high = (significant(10.0**power) for power in (scale.low, scale.high))
    note = f"A box per replan, from {low} or less (light) to {high} (dark){_unit(found)}, on a log scale."
    note += f" {plural(more, 'further episode')} in divergence.csv." if more else ""
    return join(
        tag("h3", "Episode by episode"),
        tag("div", *drawn, class_="charts"),
        tag("p", note, class_="note"),
    )


def _strip(paths: Sequence[Along], found: Divergence, scale: _LogScale) -> Markup:
    record = paths[0].record
    rows: list[Markup] = []
    if paths[0].phases:
        rows.append(_phases(paths[0].phases))
    for one in paths:
        number = len(one.steps)
        boxes = []
        for replan, value in enumerate(one.arm(found.dimensions)):
            said = f"{one.configuration}, replan {replan}"
            said += f", {one.phases[replan]}" if one.phases else ""
            boxes.append(
                tag(
                    "rect",
                    tag("title", f"{said}: {significant(value)}"),
                    x=percent(replan / number),
                    width=percent(1 / number),
                    height=14,
                    class_="cell" if np.isfinite(value) else "broken",
                    fill_opacity=0.04 + 0.96 * scale.share(value) if np.isfinite(value) else None,
                )
            )
        worst = int(np.nanargmax(one.arm(found.dimensions))) if np.isfinite(one.rms).any() else 0
        label = f"{one.configuration}: largest at replan {worst} of {number}"
        rows += [
            tag("p", one.configuration),
            tag("svg", *boxes, role="img", height=14, class_="strip", aria_label=label),
        ]
    counts = f"{record.steps} steps, {len(paths[0].steps)} replans"
    heading = tag("h3", f"{record.task_key}, episode {record.episode}", tag("small", counts))
    return tag("figure", heading, tag("div", *rows, class_="strips"))


def _phases(phases: Sequence[str]) -> Markup:
    """Return a row that names the phases, each as wide as it lasts; a name that finds no room is cut."""
    parts, start, number = [], 0, len(phases)
    for replan in range(1, number + 1):
        if replan < number and phases[replan] == phases[start]:
            continue
        place = {"x": percent(start / number), "width": percent((replan - start) / number)}
        parts.append(
            tag(
                "svg",
                tag("title", phases[start]),
                tag("line", x1=0.5, x2=0.5, y1=0, y2=16, class_="grid"),
                tag("text", phases[start], x=3, y=12, class_="faint"),
                height=16,
                **place,
            )
        )
        start = replan
    return tag("svg", *parts, height=16, class_="strip", aria_hidden="true")


def _about_ranks(found: Divergence) -> list[str]:
    return [
        f"Rank correlation of the error with the {one.what}: {one.rho:.2f} (Spearman, over {one.variants} precisions)."
        for one in found.ranks
    ]


def _unit(found: Divergence) -> str:
    return f", {found.dimensions.unit}" if found.dimensions.unit else ""


def _titled(found: Divergence, index: int) -> str:
    unit = found.dimensions.units[index]
    return found.dimensions.names[index] + (f", {unit}" if unit else "")


def _short(name: str) -> str:
    return name.replace("joint_", "j") if len(name) > 6 else name
