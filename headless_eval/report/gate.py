"""Regression gate for continuous integration: fails if a variant's success rate drops too far."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from headless_eval.config.results import GateConfig
from headless_eval.errors import UserError
from headless_eval.report.summary import Row, Summary, summarize
from headless_eval.results import RunDirectory
from headless_eval.results.stopping import SequentialDecision
from headless_eval.shared.files import replacing

Outcome = Literal["passed", "failed", "error"]


@dataclass(frozen=True)
class Judgement:
    """The gate's judgement of a variant.

    Args:
        configuration: the variant's name.
        outcome: ``failed``: success dropped significantly, and by more than allowed; ``error``: the variant cannot be
            judged, or some of its episodes were errors or are missing.
        reason: one sentence.
        seconds: the share of the run's time for the variant's episodes.
    """

    configuration: str
    outcome: Outcome
    reason: str
    seconds: float


def gate(settings: GateConfig) -> int:
    """Judge each variant of a run, print the judgements, and write them as JUnit XML if asked.

    A variant fails if its success rate is below the baseline's by more than the allowed drop, and significantly so:
    McNemar's exact test on the same episodes, p at most 0.05 after Holm's correction.

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
    wanted = len(manifest["tasks"]) * int(manifest.get("episodes") or 0)
    names = run.variants
    if run.baseline not in names or len(names) < 2:
        raise UserError(
            f"{folder} has nothing to judge: {run.baseline} and another precision have to be in the run"
        )
    summary = summarize(manifest["suite"], records, run.baseline)
    stopping = run.stopping()
    stops = stopping.stops if stopping else {}
    judged = [
        Judgement(name, *_judge(summary, name, wanted, max_drop, stops.get(name)), seconds.get(name, 0.0))
        for name in names
    ]
    width = max(map(len, names))
    for one in judged:
        print(f"{one.outcome:6}  {one.configuration:{width}}  {one.reason}")
    if settings.junit is not None:
        _write_junit(settings.junit, folder, judged)
    return 0 if all(one.outcome == "passed" for one in judged) else 1


def _judge(
    summary: Summary, name: str, wanted: int, max_drop: float, stop: SequentialDecision | None
) -> tuple[Outcome, str]:
    row = next((row for row in summary.overall if row.configuration == name), None)
    if row is None:
        return "error", "none of its episodes has run"
    if row.errors:
        return "error", f"{row.errors} of {row.episodes + row.errors} episodes ended in an error"
    if stop and stop.decision != "continue":
        return _judge_stop(row, stop, max_drop)
    if row.episodes < wanted:
        return "error", f"{row.episodes} of {wanted} episodes have run"
    if name == summary.baseline:
        return "passed", f"{row.successes} of {row.episodes} succeed; what the others are compared with"
    return _judge_drop(row, summary.baseline, max_drop)


def _judge_stop(row: Row, stop: SequentialDecision, max_drop: float) -> tuple[Outcome, str]:
    """Judge by the sequential test: McNemar's p-value assumes a fixed number of episodes."""
    drop = -row.comparison.difference if row.comparison else 0.0
    facts = f"stopped early: {stop.sentence}, observed {-100 * drop:+.1f} points"
    if stop.decision == "worse":
        return ("failed" if drop > max_drop else "passed"), facts
    if stop.margin > max_drop:
        return "error", f"{facts}; that says nothing of a drop of {100 * max_drop:g} points"
    return "passed", facts


def _judge_drop(row: Row, baseline: str, max_drop: float) -> tuple[Outcome, str]:
    one = row.comparison
    if one is None:
        return "error", f"there is no {baseline} episode to compare with"
    p_value = one.p_value if one.p_holm is None else one.p_holm
    low, high = (100 * value for value in one.interval)
    facts = f"{100 * one.difference:+.1f} points [{low:+.1f}, {high:+.1f}] over {one.pairs} pairs, p {p_value:.2g}"
    if one.decided == "worse" and -one.difference > max_drop:
        return "failed", f"success drops by more than {100 * max_drop:g} points: {facts}"
    if one.detectable is None:
        return "error", f"{facts}; too few pairs to show any drop: run more episodes"
    return "passed", f"{facts}; so many episodes show drops of {100 * one.detectable:.0f} points or more"


def _write_junit(path: Path, folder: Path, judged: list[Judgement]) -> None:
    """Write a test suite with a test case per variant, as continuous-integration servers read it."""
    counts = {
        "tests": len(judged),
        "failures": sum(one.outcome == "failed" for one in judged),
        "errors": sum(one.outcome == "error" for one in judged),
    }
    total = f"{sum(one.seconds for one in judged):.3f}"
    attributes = {name: str(value) for name, value in counts.items()} | {"time": total}
    root = ElementTree.Element("testsuites", {"name": "headless-eval", **attributes})
    suite = ElementTree.SubElement(root, "testsuite", {"name": folder.resolve().name, **attributes})
    for one in judged:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {"classname": "headless_eval", "name": one.configuration, "time": f"{one.seconds:.3f}"},
        )
        if one.outcome != "passed":
            tag = "failure" if one.outcome == "failed" else "error"
            ElementTree.SubElement(case, tag, {"message": one.reason}).text = one.reason
        else:
            ElementTree.SubElement(case, "system-out").text = one.reason
    ElementTree.indent(root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, "wb") as file:
            ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
