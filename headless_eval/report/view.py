"""The command ``view``: a page that lists all runs below a folder."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from headless_eval.config.results import ViewConfig
from headless_eval.errors import UserError
from headless_eval.report.page.overview import MARK, write_overview
from headless_eval.results import ERROR, SUCCESS, open_run
from headless_eval.results.levels import is_adaptive
from headless_eval.results.peers import is_named_like_one
from headless_eval.shared.text import plural

_JOURNAL, _MANIFEST, _REPORT = "journal.jsonl", "manifest.json", "report.html"
_LEFT_OUT = {"videos", "actions"}


class VariantCount(NamedTuple):
    """Episodes of one variant: those that succeeded, those that ended in success or failure, and errors."""

    name: str
    successes: int
    episodes: int
    errors: int


@dataclass(frozen=True)
class ListedRun:
    """A run as the list shows it.

    Args:
        path: its folder, or the file of another evaluator.
        began: ISO 8601 time in UTC; of other evaluators' files and of runs that cannot be read, when they were last
            changed.
        status: the manifest's ``finished``, ``running``, ``interrupted`` or ``failed``; ``killed`` if it says running
            and no process of this machine writes to the folder; ``incomplete`` if the run finished without some of its
            episodes; ``broken`` if the folder cannot be read.
        problem: why it cannot be read; empty for others.
        suite: the suite's name; empty if unknown.
        policy: the policy's name; empty if unknown.
        variants: counts by variant, in order.
        planned: number of episodes that the run has.
    """

    path: Path
    began: str
    status: str
    problem: str = ""
    suite: str = ""
    policy: str = ""
    variants: tuple[VariantCount, ...] = ()
    planned: int = 0

    @property
    def page(self) -> Path:
        """Return where its page is, or would be: beside the file of another evaluator."""
        return (self.path if self.path.is_dir() else self.path.parent) / _REPORT

    @property
    def has_report(self) -> bool:
        """Return whether its page is there."""
        return self.page.is_file()

    @property
    def ended(self) -> int:
        """Return the number of episodes that ended, errors included."""
        return sum(one.episodes + one.errors for one in self.variants)


def view(settings: ViewConfig) -> int:
    """Write the page, and print how many runs it lists and where it is; returns the exit status, 0.

    Raises:
        UserError: there is no such folder, there is no run below it, or the page cannot be written or would replace
            another file.
    """
    folder = settings.directory
    output = folder / "index.html" if settings.output is None else settings.output
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name one below which runs are")
    runs = list_runs(folder)
    if not runs:
        raise UserError(
            f"there is no run below {folder}: a run's folder holds {_MANIFEST} and {_JOURNAL}; lerobot-eval writes "
            "eval_info.json, and vla-eval recording-*.sqlite"
        )
    try:
        if output.exists() and MARK not in output.read_text(encoding="utf-8", errors="replace")[:4000]:
            raise UserError(f"{output} is there and is no list of runs: choose another file with --output")
        write_overview(output, folder, runs)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from None
    broken = sum(run.status == "broken" for run in runs)
    print(f"{plural(len(runs), 'run')}{f', {broken} of them broken' if broken else ''}")
    print(output)
    return 0


def list_runs(folder: Path) -> list[ListedRun]:
    """Return all runs below a folder, the newest first."""
    found = [_listed(path) for path in _places(folder)]
    return sorted(found, key=lambda run: (run.began, str(run.path)), reverse=True)


def _places(folder: Path) -> Iterator[Path]:
    """Yield the folders of runs, which have a journal, or a manifest and results; and files of other evaluators."""
    for place, inner, files in os.walk(folder):
        inner[:] = sorted(name for name in inner if name not in _LEFT_OUT and not name.startswith("."))
        if _JOURNAL in files or {_MANIFEST, "results.json"} <= set(files):
            yield Path(place)
        yield from (Path(place, name) for name in sorted(files) if is_named_like_one(name))


def _listed(path: Path) -> ListedRun:
    try:
        run = open_run(path)
        records = run.records()
    except UserError as error:
        return ListedRun(path, _changed(path), "broken", str(error))
    manifest = run.manifest
    counts = Counter((record.configuration, record.status) for record in records)
    variants = []
    for name in run.variants:
        mine = {status: number for (of, status), number in counts.items() if of == name}
        errors = mine.pop(ERROR, 0)
        variants.append(VariantCount(name, mine.get(SUCCESS, 0), sum(mine.values()), errors))
    policy = manifest.get("policy") or {}
    planned = len(variants) * run.planned
    status = str(manifest.get("status"))
    if status == "running" and not run.is_running:
        status = "killed"
    elif status == "finished" and len(records) < planned and not (run.stopping() or is_adaptive(manifest)):
        status = "incomplete"
    return ListedRun(
        path,
        _changed(path) if run.notes else str(manifest.get("started_at") or ""),
        status,
        suite=str(manifest["suite"]),
        policy=str(policy.get("name") or ""),
        variants=tuple(variants),
        planned=planned,
    )


def _changed(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
