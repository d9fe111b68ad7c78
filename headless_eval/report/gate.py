"""Regression gate for continuous integration: passes only what is shown not to drop by more than is allowed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np

from headless_eval.config.margins import Margin
from headless_eval.config.results import GateConfig
from headless_eval.errors import UserError
from headless_eval.report.comparison import Comparison
from headless_eval.report.margin import Judged, judge_change, judge_interval, judge_pairs
from headless_eval.report.outcome_tables import amount, signed, unit_of_change
from headless_eval.report.outcomes import TIME, Matched, Outcome, Values
from headless_eval.report.paired import LEAST, differences, mean_change
from headless_eval.report.robustness import is_swept
from headless_eval.report.summary import Row, Summary, summarize
from headless_eval.results import EpisodeRecord, Readable, open_runs
from headless_eval.results.levels import is_adaptive
from headless_eval.results.pairing import pair
from headless_eval.results.stopping import Stopping
from headless_eval.shared.files import replacing
from headless_eval.shared.text import plural, printable

Answer = Literal["passed", "failed", "inconclusive", "error"]

_DIRECTIONS = {"more": "rises", "less": "falls", None: "changes"}


@dataclass(frozen=True)
class Judgement:
    """The gate's judgement of a variant: of its success, or of another outcome.

    Args:
        name: the variant's name, and that of the outcome if it is not success.
        outcome: ``passed``: the drop is shown to be smaller than allowed; ``failed``: it is shown to be larger;
            ``inconclusive``: neither is shown; ``error``: the variant cannot be judged, or some of its episodes were
            errors or are missing.
        reason: one sentence.
        seconds: the share of the run's time for the variant's episodes, 0 of another outcome; None if it is not known.
    """

    name: str
    outcome: Answer
    reason: str
    seconds: float | None


def gate(settings: GateConfig) -> int:
    """Judge each variant of a run, print the judgements, and write them as JUnit XML if asked.

    Variants are judged by the interval of the paired difference, in a sequential run by the pairs in their order
    (``report.margin``); other outcomes by the interval of the change of their mean (``report.paired``).

    Returns:
        0 if all pass, else 1.

    Raises:
        UserError: there is no run, the run has nothing to judge, an outcome is unknown or in another unit, or the XML
            file cannot be written.
    """
    run, max_drop = open_runs(settings.runs, assume_paired=settings.assume_paired), settings.max_drop
    records = run.records()
    seconds: dict[str, float | None] = {}
    for record in records:
        before, more = seconds.get(record.configuration, 0.0), record.stated("total_s")
        seconds[record.configuration] = None if before is None or more is None else before + more
    names = run.variants
    if run.baseline not in names or len(names) < 2:
        raise UserError(f"{run.path} has nothing to judge: {_expected(run)}")
    if is_adaptive(run.manifest):
        raise UserError(
            f"{run.path} chose its levels by what had succeeded before: success over them does not compare. Compare "
            "thresholds (headless-eval report), or run without --until-width"
        )
    summary = summarize(run.manifest["suite"], records, run.baseline)
    summary = replace(summary, swept=is_swept(run.manifest))
    stopping, strange = run.stopping(), _strange(run.manifest, records)
    values = Values(records, run.manifest)
    margins = [(values.find(margin), margin) for margin in settings.margins]
    judged = []
    for name in names:
        success = strange.get(name) or _judge(summary, name, run.planned, max_drop, stopping)
        judged.append(Judgement(name, *success, seconds.get(name, 0.0)))
        if name == run.baseline or success[0] == "error":
            continue
        matched = _pairs(records, name, run.baseline)
        for outcome, margin in margins:
            answer = _judge_outcome(outcome, margin, *values.pairs(matched, outcome.name), stopping)
            judged.append(Judgement(f"{name} {outcome.name}", *answer, 0.0))
    width = max(len(one.name) for one in judged)
    for one in judged:
        print(f"{one.outcome:12}  {one.name:{width}}  {one.reason}")
    for note in filter(None, (*run.notes, summary.conditions)):
        print(f"{note}.")
    if settings.junit is not None:
        _write_junit(settings.junit, run.path, judged)
    return 0 if all(one.outcome == "passed" for one in judged) else 1


def _expected(run: Readable) -> str:
    if run.notes:
        return "give several files, the baseline first"
    return f"{run.baseline} and another precision have to be in the run"


def _strange(manifest: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> dict[str, tuple[Answer, str]]:
    """Return the judgement of variants with episodes that are none of the manifest's, in place of some that are."""
    tasks, episodes = {entry["id"] for entry in manifest["tasks"]}, manifest["episodes"]
    count = Counter(
        record.configuration
        for record in records
        if record.task_id not in tasks or record.episode >= episodes
    )
    return {
        name: ("error", f"{number} episodes in the journal are none of the manifest's tasks and numbers")
        for name, number in count.items()
    }


def _judge(
    summary: Summary, name: str, wanted: int, max_drop: float, stopping: Stopping | None
) -> tuple[Answer, str]:
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
        if stopping.outcome is None and stop.decision == "worse" and -row.comparison.difference > max_drop:
            # The run ended once a drop was shown, before its size could be.
            return "failed", f"success drops, and by more than {100 * max_drop:g} points in what ran: {facts}"
    return _worded(judged, row.comparison, facts, max_drop)


def _pairs(records: Sequence[EpisodeRecord], name: str, baseline: str) -> Matched:
    sides = ([record for record in records if record.configuration == one] for one in (name, baseline))
    return pair(*sides).matched


def _judge_outcome(
    outcome: Outcome, margin: Margin, reference: np.ndarray, other: np.ndarray, stopping: Stopping | None
) -> tuple[Answer, str]:
    pairs = len(reference)
    what = f"{outcome.title} {_DIRECTIONS[outcome.worse]}"
    if stopping is not None:
        return "inconclusive", (
            f"whether {what} by more than {margin} cannot be told: a sequential run has as many episodes as success "
            "needed, which no interval of an outcome allows for; run without --sequential"
        )
    if not pairs:
        if outcome.name == TIME:
            return (
                "error",
                "no pair of episodes succeeds in both, so there are no times to success to compare",
            )
        return "error", f"no pair of episodes has the outcome {outcome.name}"
    change = mean_change(reference, other, relative=outcome.relative)
    over = plural(pairs, "pair") + (" that succeed in both" if outcome.name == TIME else "")
    if change is None:
        reason = f"{np.count_nonzero(differences(reference, other))} of {over} differ, {LEAST} have to"
        if outcome.relative and reference.mean() <= 0:
            reason = f"the baseline's mean is {amount(float(reference.mean()))}: give the margin in its unit"
        return "inconclusive", f"whether {what} by more than {margin} cannot be told: {reason}"
    size = margin.size / 100 if outcome.relative else margin.size
    judged = judge_change(change, size, pairs, outcome.worse)
    low, high = (signed(end, outcome) for end in change.interval)
    unit = unit_of_change(outcome)
    facts = f"{signed(change.value, outcome)} {unit} [{low}, {high}] over {over}".replace("  ", " ")
    if judged.answer == "within":
        return "passed", f"{what} by less than {margin}: {facts}"
    if judged.answer == "beyond":
        return "failed", f"{what} by more than {margin}: {facts}"
    more = "the change is too close to this margin for any number of episodes to decide"
    if judged.pairs_needed:
        more = f"about {judged.pairs_needed:,} pairs would decide if the change stays as it is"
    return "inconclusive", f"whether {what} by more than {margin} is not told: {facts}; {more}"


def _facts(row: Row) -> str:
    one = row.comparison
    assert one is not None
    low, high = (100 * value for value in one.interval)
    return f"{100 * one.difference:+.1f} points [{low:+.1f}, {high:+.1f}] over {one.say(one.number)}"


def _worded(judged: Judged, one: Comparison, facts: str, max_drop: float) -> tuple[Answer, str]:
    margin = f"{100 * max_drop:g} points"
    if judged.answer == "within":
        return "passed", f"success drops by less than {margin}: {facts}"
    if judged.answer == "beyond":
        return "failed", f"success drops by more than {margin}: {facts}"
    more = "the rates are too close to this margin for any number of episodes to decide"
    if judged.pairs_needed:
        more = f"about {one.say(judged.pairs_needed)} would decide if the rates stay as they are"
    return "inconclusive", f"a drop of {margin} is neither shown nor ruled out: {facts}; {more}"


def _time(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"time": f"{seconds:.3f}"}


def _write_junit(path: Path, folder: Path, judged: list[Judgement]) -> None:
    """Write a test suite with a test case per variant, as continuous-integration servers read it."""
    counts = {
        "tests": len(judged),
        "failures": sum(one.outcome in ("failed", "inconclusive") for one in judged),
        "errors": sum(one.outcome == "error" for one in judged),
    }
    known = [one.seconds for one in judged if one.seconds is not None]
    total = sum(known) if len(known) == len(judged) else None
    attributes = {name: str(value) for name, value in counts.items()} | _time(total)
    root = ElementTree.Element("testsuites", {"name": "headless-eval", **attributes})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": printable(folder.resolve().name), **attributes}
    )
    for one in judged:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {"classname": "headless_eval", "name": one.name, **_time(one.seconds)},
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
