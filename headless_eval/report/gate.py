"""Regression gate for continuous integration: passes only what is shown not to drop by more than is allowed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from headless_eval.config.results import GateConfig
from headless_eval.errors import UserError
from headless_eval.report.margin import Judged, judge_interval, judge_pairs
from headless_eval.report.summary import Row, Summary, summarize
from headless_eval.results import RunDirectory
from headless_eval.results.stopping import Stopping
from headless_eval.shared.files import replacing
from headless_eval.shared.text import plural, printable

Outcome = Literal["passed", "failed", "inconclusive", "error"]


@dataclass(frozen=True)
class Judgement:
    """The gate's judgement of a variant.

    Args:
        configuration: the variant's name.
        outcome: ``passed``: the drop is shown to be smaller than allowed; ``failed``: it is shown to be larger;
            ``inconclusive``: neither is shown; ``error``: the variant cannot be judged, or some of its episodes were
            errors or are missing.
        reason: one sentence.
        seconds: the share of the run's time for the variant's episodes.
    """

    configuration: str
    outcome: Outcome
    reason: str
    seconds: float


def gate(settings: GateConfig) -> int:
    """Judge each variant of a run, print the judgements, and write them as JUnit XML if asked.

    Variants are judged by the interval of the paired difference, in a sequential run by the pairs in their order
    (``report.margin``).

    Returns:
        0 if all pass, else 1.

    Raises:
        UserError: the folder holds no run, the run has nothing to judge, or the XML file cannot be written.
    """
    folder, max_drop = settings.directory, settings.max_drop
    run = RunDirectory.open(folder)
    records = run.records()
    seconds: dict[str, float] = {}
    for record in records:
        seconds[record.configuration] = seconds.get(record.configuration, 0.0) + record.total_s
    manifest = run.manifest
    wanted = len(manifest["tasks"]) * manifest["episodes"]
    names = run.variants
    if run.baseline not in names or len(names) < 2:
        raise UserError(
            f"{folder} has nothing to judge: {run.baseline} and another precision have to be in the run"
        )
    summary = summarize(manifest["suite"], records, run.baseline)
    stopping = run.stopping()
    judged = [
        Judgement(name, *_judge(summary, name, wanted, max_drop, stopping), seconds.get(name, 0.0))
        for name in names
    ]
    width = max(map(len, names))
    for one in judged:
        print(f"{one.outcome:12}  {one.configuration:{width}}  {one.reason}")
    if settings.junit is not None:
        _write_junit(settings.junit, folder, judged)
    return 0 if all(one.outcome == "passed" for one in judged) else 1


def _judge(
    summary: Summary, name: str, wanted: int, max_drop: float, stopping: Stopping | None
) -> tuple[Outcome, str]:
    row = next((row for row in summary.overall if row.configuration == name), None)
    if row is None:
        return "error", "none of its episodes has run"
    if row.errors:
        return "error", f"{row.errors} of {row.episodes + row.errors} episodes ended in an error"
    stop = stopping.stops.get(name) if stopping else None
    if row.episodes < wanted and (stop is None or stop.decision == "continue"):
        return "error", f"{row.episodes} of {wanted} episodes have run"
    if name == summary.baseline:
        return "passed", f"{row.successes} of {row.episodes} succeed; what the others are compared with"
    if row.unpaired:
        return "error", (
            f"{row.unpaired} of {row.episodes} episodes are not {summary.baseline}'s: seed or initial state differ"
        )
    if row.comparison is None:
        return "error", f"there is no {summary.baseline} episode to compare with"
    facts, judged = _facts(row), judge_interval(row.comparison, max_drop)
    if stopping and stop:
        # The number of pairs depends on what they showed, which the interval does not allow for.
        judged = judge_pairs(stopping.pairs[name], max_drop, stopping.alpha)
        if stop.decision != "continue":
            facts = f"stopped early: {stop.sentence}, observed {100 * row.comparison.difference:+.1f} points"
        if stop.decision == "worse" and -row.comparison.difference > max_drop:
            # The run ended once a drop was shown, before its size could be.
            return "failed", f"success drops, and by more than {100 * max_drop:g} points in what ran: {facts}"
    return _worded(judged, facts, max_drop)


def _facts(row: Row) -> str:
    one = row.comparison
    assert one is not None
    low, high = (100 * value for value in one.interval)
    return f"{100 * one.difference:+.1f} points [{low:+.1f}, {high:+.1f}] over {one.pairs} pairs"


def _worded(judged: Judged, facts: str, max_drop: float) -> tuple[Outcome, str]:
    margin = f"{100 * max_drop:g} points"
    if judged.answer == "within":
        return "passed", f"success drops by less than {margin}: {facts}"
    if judged.answer == "beyond":
        return "failed", f"success drops by more than {margin}: {facts}"
    more = "the rates are too close to this margin for any number of episodes to decide"
    if judged.pairs_needed:
        needed = plural(judged.pairs_needed, "paired episode")
        more = f"about {needed} would decide if the rates stay as they are"
    return "inconclusive", f"a drop of {margin} is neither shown nor ruled out: {facts}; {more}"


def _write_junit(path: Path, folder: Path, judged: list[Judgement]) -> None:
    """Write a test suite with a test case per variant, as continuous-integration servers read it."""
    counts = {
        "tests": len(judged),
        "failures": sum(one.outcome in ("failed", "inconclusive") for one in judged),
        "errors": sum(one.outcome == "error" for one in judged),
    }
    total = f"{sum(one.seconds for one in judged):.3f}"
    attributes = {name: str(value) for name, value in counts.items()} | {"time": total}
    root = ElementTree.Element("testsuites", {"name": "headless-eval", **attributes})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": printable(folder.resolve().name), **attributes}
    )
    for one in judged:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {"classname": "headless_eval", "name": one.configuration, "time": f"{one.seconds:.3f}"},
        )
        if one.outcome != "passed":
            tag = "error" if one.outcome == "error" else "failure"
            ElementTree.SubElement(case, tag, {"message": one.reason, "type": one.outcome}).text = one.reason
        else:
            ElementTree.SubElement(case, "system-out").text = one.reason
    ElementTree.indent(root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, "wb") as file:
            ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
