"""The page's sections, from the header to the manifest."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headless_eval.report.charts import Chart, charts
from headless_eval.report.comparison import episodes_of, names_of_tests
from headless_eval.report.page import drawings
from headless_eval.report.page.episodes import time_per_configuration
from headless_eval.report.page.forest import forest_plot
from headless_eval.report.page.markup import Markup, join, tag
from headless_eval.report.page.table import scrolling, table
from headless_eval.report.summary import Row, Summary
from headless_eval.report.tables import format_p, format_points
from headless_eval.report.verdict import verdicts
from headless_eval.results.record import EpisodeRecord

_SIGNS = {"reference": "●", "worse": "▼", "better": "▲", "undecided": "○", "same": "=", "nothing": "–"}
_STATES = {
    "running": "still running",
    "interrupted": "interrupted: a part of its episodes",
    "failed": "broken off: a part of its episodes",
}
_ACTIVITIES = {
    "sim_s": "simulator",
    "render_s": "pictures",
    "infer_s": "policy",
    "precision_s": "changing precision",
    "divergence_s": "divergence",
    "rest_s": "everything else",
}


def title(manifest: Mapping[str, Any]) -> str:
    """Return the page's title: policy and suite."""
    return f"{_entry(manifest, 'policy', 'name') or 'policy'} on {manifest['suite']}"


def header(manifest: Mapping[str, Any], summary: Summary) -> Markup:
    """Return the heading, the facts of the run and a verdict on each variant."""
    counts = [
        _count(summary.episodes + summary.errors, "episode"),
        _count(len(summary.configurations), "precision"),
        _count(len(summary.tasks), "task"),
        f"seed {manifest['seed']}" if manifest.get("seed") is not None else None,
    ]
    if summary.errors:
        counts.append(tag("b", _count(summary.errors, "error"), class_="bad"))
    state = _STATES.get(str(manifest.get("status")))
    began = str(manifest.get("started_at") or "").replace("T", " ").removesuffix("+00:00")
    gpus = _entry(manifest, "hardware", "gpus")
    on_gpu = str(_entry(manifest, "policy", "device")).startswith("cuda") and isinstance(gpus, list) and gpus
    place = gpus[0] if on_gpu else _entry(manifest, "hardware", "cpu")
    facts = [*counts, f"{began} UTC" if began else None, place]
    lines = [
        tag("h1", title(manifest)),
        tag("p", *_between(" · ", [fact for fact in facts if fact]), class_="facts"),
    ]
    if summary.origin:
        lines.append(tag("p", " ".join(f"{note}." for note in summary.origin), class_="note"))
    if isinstance(_entry(manifest, "policy", "remote"), Mapping):
        lines.append(tag("p", _about_server(manifest), class_="note"))
    if state:
        lines.append(
            tag("p", f"This run was {state}." if state != "still running" else "This run is still running.")
        )
    judged = [
        tag(
            "li",
            tag("span", _SIGNS[one.kind], class_="sign", aria_hidden="true"),
            tag("span", tag("b", one.configuration), " ", one.sentence),
            class_=one.kind,
        )
        for one in verdicts(summary)
    ]
    lines.append(tag("ul", *judged, class_="verdicts") if judged else tag("p", "No episode has run."))
    return join(*lines)


def _about_server(manifest: Mapping[str, Any]) -> str:
    """Return what a reader has to know of a run whose policy was on a server."""
    asked = {
        "checked": "Asked twice about the first observation, it gave the same actions.",
        "not given": "Asked twice about the first observation, it gave other actions: rates repeat, episodes do not.",
    }
    return (
        "The policy was on a server. This record has neither its weights nor its code: a verification can only ask "
        "the server again. "
        + asked.get(
            str(_entry(manifest, "policy", "determinism")), "Whether it repeats its actions was not checked."
        )
    )


def summary_table(summary: Summary) -> Markup:
    """Return the table with a row per variant."""
    errors = summary.errors > 0
    compared = [row.comparison for row in summary.overall if row.comparison]
    heads = ["Precision", "Success", "Rate, 95 % interval"]
    heads += [f"Δ {summary.baseline}, points", "p", "Would show"] if compared else []
    heads += ["Errors"] if errors else []
    rows = []
    for row in summary.overall:
        cells = [
            (f"{row.successes}/{row.episodes}" if row.episodes else "–", "number"),
            (tag("div", drawings.rate_bar(row), tag("span", _rate(row)), class_="rated"), None),
        ]
        if compared:
            difference, p_value, shown = _comparison(row)
            news = f"number {row.comparison.decided or ''}".strip() if row.comparison else "number"
            cells += [(difference, news), (p_value, news), (shown, "number")]
        if errors:
            cells.append((str(row.errors) if row.errors else "", "number bad"))
        rows.append((row.configuration, cells))
    shown = table("summary", heads, rows)
    note = "Intervals of the rate after Wilson."
    if compared:
        note += (
            f" Δ: success minus that of {summary.baseline} {episodes_of(compared)}, with Newcombe's interval."
            f" p: {names_of_tests(compared)} after Holm's correction over all precisions. Would show: the smallest drop"
            " that these episodes show with 80 % power, in points; – if they are too few for any."
        )
    note += " Episodes that ended in an error count nowhere else." if errors else ""
    note += "".join(f" {sentence}." for sentence in summary.notes)
    return join(scrolling(shown, "Summary"), tag("p", note, class_="note"))


def drawn_charts(summary: Summary) -> Markup:
    """Return the charts of the modes that ran; the other modes are named below them."""
    found = charts(summary)
    # All modes first: most readers look for this chart.
    order = sorted(found, key=lambda name: name != "overall")
    reasons = {name: chart.missing if isinstance(chart, Chart) else chart for name, chart in found.items()}
    drawn = [
        drawings.bar_chart(chart)
        for name in order
        if isinstance(chart := found[name], Chart) and not reasons[name]
    ]
    missing = [reasons[name] for name in order if reasons[name]]
    return join(
        tag("div", *drawn, class_="charts"), tag("p", " ".join(missing), class_="note") if missing else None
    )


def forest(summary: Summary) -> Markup:
    """Return the plot of paired differences, or the reason why nothing can be compared."""
    drawing = forest_plot(summary)
    if drawing is None:
        return tag(
            "p", f"Nothing to compare: {summary.baseline} and another precision must have run.", class_="note"
        )
    compared = [row.comparison for row in summary.overall]
    note = (
        f"Points: percentage points of success gained (right) or lost (left) {episodes_of(compared)}, with Newcombe's"
        " 95 % interval. Red and green: different after Holm's correction. Grey band: a drop in it could have gone"
        " unseen (less than 80 % power)."
    )
    return tag("figure", drawing, tag("figcaption", note))


def timing(manifest: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> Markup:
    """Return the shares of time: of the whole run from its manifest, and per variant from its episodes."""
    if not records:
        return tag("p", "No episode has run.", class_="note")
    sums = time_per_configuration(records)
    time = manifest.get("time")
    parts: list[Markup] = []
    if time:
        shares = {name: float(time[key]) for key, name in _ACTIVITIES.items() if time.get(key)}
        total = float(time.get("total_s") or sum(shares.values()))
        said = f"{_duration(total)} for {_count(len(records), 'episode')}"
        if "episodes_per_minute" in time:
            said += f", {float(time['episodes_per_minute']):.1f} a minute"
        memory = manifest.get("peak_memory_bytes")
        said += f", {memory / 2**30:.1f} GiB of memory at most" if memory else ""
        names = [f"{name} {100 * value / (total or 1):.1f} %" for name, value in shares.items()]
        parts = [tag("p", f"{said}."), drawings.stacked_bar(shares), drawings.legend(names)]
    heads = [
        "Precision",
        "Episodes",
        "s per episode",
        "simulator",
        "pictures",
        "policy",
        "ms per action chunk",
    ]
    rows = []
    for name, one in sums.items():
        episodes = one["episodes"]
        seconds = [one[key] for key in ("total_s", "sim_s", "render_s", "infer_s")]
        chunk = f"{1000 * one['infer_s'] / one['replans']:.1f}" if one["replans"] else "–"
        means = ("–" if value is None else f"{value / episodes:.2f}" for value in seconds)
        cells = [f"{episodes:,}", *means, chunk]
        rows.append((name, [(cell, "number") for cell in cells]))
    shown = table("numbers", heads, rows)
    note = "Means over episodes; time spent on several at once is divided among them."
    return join(*parts, scrolling(shown, "Time by precision"), tag("p", note, class_="note"))


def manifest_fold(manifest: Mapping[str, Any]) -> Markup:
    """Return the command as a user types it, and the manifest in a collapsed element."""
    command = manifest.get("command")
    words = [str(word) for word in command] if isinstance(command, list) else []
    if words:
        name = Path(words[0]).name
        words[0] = "headless-eval" if name == "__main__.py" else name
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    return join(
        tag("p", tag("code", shlex.join(words), class_="command")) if words else None,
        tag(
            "details",
            tag("summary", "Settings, versions, hardware, hashes"),
            tag("pre", text, tabindex=0, role="region", aria_label="Manifest"),
        ),
    )


def files(manifest: Mapping[str, Any], summary: Summary, more: Sequence[str] = ()) -> Markup:
    """Return links to the other files that lie beside the page, ``more`` among them."""
    suite = manifest["suite"]
    names = [
        f"{suite}_results.csv",
        f"{suite}_results.json",
        "results.json",
        "outcomes.csv",
    ]
    names += [] if summary.origin else ["journal.jsonl", "manifest.json"]
    names += [f"success_rate_{name}.png" for name in charts(summary)]
    names += more
    return tag(
        "p", "Beside this page: ", *_between(", ", [tag("a", name, href=f"./{name}") for name in names]), "."
    )


def _entry(manifest: Mapping[str, Any], section: str, name: str) -> Any:
    """Return an entry of a manifest's section; None if it is missing or another version wrote it differently."""
    found = manifest.get(section)
    return found.get(name) if isinstance(found, dict) else None


def _comparison(row: Row) -> list[str]:
    one = row.comparison
    if one is None:
        return ["", "", ""]
    low, high = one.interval
    return [
        f"{format_points(one.difference)} ({format_points(low)} to {format_points(high)})",
        format_p(one.p_value if one.p_holm is None else one.p_holm),
        "–" if one.detectable is None else f"−{100 * one.detectable:.0f}",
    ]


def _rate(row: Row) -> str:
    if row.rate is None or row.interval is None:
        return "only errors"
    return f"{100 * row.rate:.0f} % ({100 * row.interval.low:.0f} to {100 * row.interval.high:.0f})"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _between(separator: str, items: Sequence[Any]) -> list[Any]:
    return [part for item in items for part in (separator, item)][1:]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
