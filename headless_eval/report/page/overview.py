"""The page that lists runs: one self-contained HTML file with links to their reports."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import quote

from headless_eval.report.page import asset, source_hash
from headless_eval.report.page.markup import Markup, join, tag
from headless_eval.shared.files import replacing
from headless_eval.shared.text import plural

if TYPE_CHECKING:
    from headless_eval.report.view import ListedRun, VariantCount

MARK = '<meta name="generator" content="headless-eval view">'
"""What the beginning of such a page has, so that it may be replaced by a newer one."""

_MANY = 6  # variants that are shown without being opened
_GOOD = {"finished": "success", "running": "failure"}


def write_overview(path: Path, folder: Path, runs: Sequence[ListedRun]) -> None:
    """Write the list of runs.

    Its content security policy allows its own style and script alone, by their hashes: names and messages of runs may
    come from anybody.

    Args:
        path: the file; reports are linked relative to its folder.
        folder: below which the runs are.
        runs: in the order to show.

    Raises:
        OSError: the file cannot be written; it is then unchanged.
    """
    style, script = asset("page.css") + asset("overview.css"), asset("overview.js")
    name = folder.resolve().name or str(folder.resolve())
    with replacing(path) as file:
        file.write(
            Template(asset("overview.html")).substitute(
                mark=MARK,
                title=escape(f"Runs in {name}"),
                policy=f"default-src 'none'; script-src {source_hash(script)}; style-src {source_hash(style)}; "
                "base-uri 'none'; form-action 'none'",
                style=style,
                script=script,
                made=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
                number=plural(len(runs), "run"),
                suites=_options(run.suite for run in runs),
                policies=_options(run.policy for run in runs),
                precisions=_options(one.name for run in runs for one in run.variants),
                states=_options(run.status for run in runs),
                rows=join(*(_row(run, path.parent, folder) for run in runs)),
            )
        )


def _options(names: Iterable[str]) -> Markup:
    return join(*(tag("option", name, value=name) for name in sorted(set(names) - {""})))


def _row(run: ListedRun, page_folder: Path, folder: Path) -> Markup:
    name = os.path.relpath(run.path, folder)
    name = run.path.resolve().name if name == "." else name
    report = os.path.relpath(run.page, page_folder)
    link = tag("a", name, href=f"./{quote(os.fsencode(report))}") if run.has_report else tag("span", name)
    how = "report DIR" if run.path.is_dir() else "report FILE --output DIR"
    missing = "" if run.has_report or run.status == "broken" else f"no report yet: headless-eval {how}"
    began = run.began.replace("T", " ").removesuffix("+00:00")
    count = f"{run.ended:,}" if run.ended >= run.planned else f"{run.ended:,} of {run.planned:,}"
    errors = sum(one.errors for one in run.variants)
    state = tag("span", run.status, class_=f"badge {_GOOD.get(run.status, 'error')}")
    return tag(
        "tr",
        tag("td", tag("time", began, datetime=run.began), class_="number"),
        tag("th", link, tag("small", missing, class_="faint") if missing else None, scope="row"),
        tag("td", run.policy or "–"),
        tag("td", run.suite or "–"),
        tag("td", _variants(run.variants) if run.variants else tag("span", run.problem, class_="bad")),
        tag("td", count if run.variants else "–", class_="number"),
        tag("td", state, tag("small", plural(errors, "error"), class_="bad") if errors else None),
        data_suite=run.suite,
        data_policy=run.policy,
        data_status=run.status,
    )


def _variants(variants: Sequence[VariantCount]) -> Markup:
    lines = [
        tag("li", tag("span", one.name), " ", tag("b", _rate(one)), data_precision=one.name)
        for one in variants
    ]
    found = tag("ul", *lines, class_="rates")
    if len(variants) <= _MANY:
        return found
    return tag("details", tag("summary", plural(len(variants), "precision")), found)


def _rate(one: VariantCount) -> str:
    return f"{one.successes}/{one.episodes}" if one.episodes else "–"
