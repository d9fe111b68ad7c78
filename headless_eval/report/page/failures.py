"""The page's section on how episodes fail: reasons by variant as stacked bars and a table, and how far they came."""

from collections.abc import Sequence

from headless_eval.report.charts import COLOURS
from headless_eval.report.failures import Failures, all_phases, all_reasons, sentence, words
from headless_eval.report.page.drawings import swatch
from headless_eval.report.page.markup import Markup, join, percent, tag
from headless_eval.report.page.table import scrolling, table
from headless_eval.results.outcomes import REASONS

_BAR, _LABEL, _GAP = 16, 16, 12  # pixels


def failures_section(failures: Sequence[Failures]) -> Markup:
    """Return the section; nothing for a run whose simulator tells neither reasons nor phases."""
    if not failures:
        return join()
    reasons = all_reasons(failures)
    return tag(
        "section",
        tag("h2", "How episodes fail", id="failures"),
        _reasons(failures, reasons) if reasons else tag("p", "No episode failed.", class_="note"),
        _phases(failures),
        aria_labelledby="failures",
    )


def _reasons(failures: Sequence[Failures], reasons: Sequence[str]) -> Markup:
    looks = {name: f"c{index}" if index < COLOURS else "base" for index, name in enumerate(reasons)}
    legend = [tag("li", swatch("track"), "success")]
    legend += [tag("li", swatch(look), words(name)) for name, look in looks.items()]
    rows = [
        (
            one.configuration,
            [
                (f"{one.failures:,} of {one.episodes:,}", "number"),
                *((_count(one.reasons.get(name, 0)), "number") for name in reasons),
            ],
        )
        for one in failures
    ]
    meanings = " ".join(
        f"{words(name).capitalize()}: {sentence(name)}." for name in reasons if name in REASONS
    )
    return join(
        tag("figure", tag("ul", *legend, class_="legend"), _bars(failures, looks)),
        scrolling(
            table("summary", ["Precision", "Failed", *map(words, reasons)], rows), "Reasons of failure"
        ),
        tag("p", meanings, class_="note") if meanings else None,
    )


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _bars(failures: Sequence[Failures], looks: dict[str, str]) -> Markup:
    """Draw a bar for each variant, all its episodes wide: the reasons from the left, the rest is success."""
    marks, y, told = [], 0, []
    for one in failures:
        marks.append(tag("text", one.configuration, x=0, y=y + 11, class_="label"))
        top, start = y + _LABEL, 0
        marks.append(tag("rect", y=top, width="100%", height=_BAR, class_="track"))
        said = [f"{words(name)} {count}" for name, count in one.reasons.items()]
        for name, count in one.reasons.items():
            title = tag("title", f"{one.configuration}: {words(name)}, {count:,} of {one.episodes:,}")
            place = {"x": percent(start / one.episodes), "width": percent(count / one.episodes)}
            marks.append(tag("rect", title, y=top, height=_BAR, class_=looks[name], **place))
            start += count
        told.append(f"{one.configuration}, {one.episodes} episodes: {', '.join(said) or 'none failed'}.")
        y = top + _BAR + _GAP
    return tag("svg", *marks, role="img", height=y, class_="chart", aria_label=" ".join(told))


def _phases(failures: Sequence[Failures]) -> Markup | None:
    phases = all_phases(failures)
    if not phases:
        return None
    rows = [
        (one.configuration, [(_count(one.phases.get(name, 0)), "number") for name in phases])
        for one in failures
    ]
    shown = table("summary", ["Precision", *map(words, phases)], rows)
    return tag(
        "details",
        tag("summary", "How far episodes came: the furthest phase, successes included"),
        scrolling(shown, "Furthest phases"),
    )
