"""The report page: one self-contained HTML file that links to the run's videos."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from headless_eval.report.divergence import FILES as DIVERGENCE_FILES
from headless_eval.report.divergence import Divergence
from headless_eval.report.page import sections
from headless_eval.report.page.curves import curves_section
from headless_eval.report.page.divergence import divergence_section, strip_data
from headless_eval.report.page.episodes import embed
from headless_eval.report.page.failures import failures_section
from headless_eval.report.page.heat import heat_map
from headless_eval.report.page.outcomes import outcomes
from headless_eval.report.page.robustness import robustness_section
from headless_eval.report.robustness import Robustness
from headless_eval.report.summary import Summary
from headless_eval.results.record import EpisodeRecord
from headless_eval.shared.files import replacing


def write_page(
    path: Path,
    manifest: Mapping[str, Any],
    summary: Summary,
    records: Sequence[EpisodeRecord],
    divergence: Divergence | None = None,
    sweep: Robustness | None = None,
) -> None:
    """Write ``report.html``.

    Its content security policy allows only the page's own style and script, by their hashes, and media from the page's
    own folder: the browser loads and runs nothing that an instruction or a traceback may contain.

    Args:
        path: the file; videos are linked relative to its folder.
        manifest: the run's manifest.
        summary: the summary of the records.
        records: one record per trial, in the order of ``RunDirectory.records``.
        divergence: from the baseline on its own path, if variants were asked.
        sweep: what the run's sweep shows, if it has one.

    Raises:
        OSError: the file cannot be written; it is then unchanged.
    """
    more = [*(DIVERGENCE_FILES if divergence else ())]
    more += ["psychometric.csv", "psychometric.png"] if summary.curves else []
    more += ["robustness.csv", "perturbations.csv"] if sweep else []
    style, script = asset("page.css"), asset("page.js")
    with replacing(path) as file:
        file.write(
            Template(asset("template.html")).substitute(
                title=escape(f"{sections.title(manifest)}: success by precision"),
                policy=f"default-src 'none'; script-src {source_hash(script)}; style-src {source_hash(style)}; "
                "media-src 'self' file:; base-uri 'none'; form-action 'none'",
                style=style,
                script=script,
                header=sections.header(manifest, summary),
                summary=sections.summary_table(summary) if summary.rows else "",
                charts=sections.drawn_charts(summary),
                heat=heat_map(summary) if summary.rows else "",
                forest=sections.forest(summary),
                outcomes=outcomes(summary),
                curves=curves_section(summary.curves, summary.baseline) or "",
                failures=failures_section(summary.failures),
                robustness=robustness_section(sweep),
                divergence=divergence_section(divergence),
                timing=sections.timing(manifest, records),
                manifest=sections.manifest_fold(manifest),
                files=sections.files(manifest, summary, more),
                baseline=escape(summary.baseline),
                data=embed(records, summary.baseline, strip_data(divergence)),
            )
        )


def asset(name: str) -> str:
    """Return the text of a file beside this module."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def source_hash(text: str) -> str:
    """Return the hash by which a content security policy knows an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
