"""Early stopping of variants: the sequential tests of a run, fed from its journal in a fixed order."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from headless_eval.contracts.variant import DEFAULT_BASELINE
from headless_eval.results.bounded import Bounded, bounded
from headless_eval.results.pairing import same_episode
from headless_eval.results.record import ERROR, Count, EpisodeRecord
from headless_eval.results.sequential import ALPHA, Decision, SequentialTest
from headless_eval.shared.text import plural
from headless_eval.shared.untrusted import convert

Trial = tuple[str, int, int]  # variant, task id, episode


@dataclass(frozen=True)
class _Settings:
    """The settings of a run that its tests depend on."""

    sequential: Annotated[float, Meta(gt=0, lt=1)]
    retries: Count = 0
    sequential_on: str | None = None


@dataclass(frozen=True)
class SequentialDecision:
    """The state of a variant's sequential test.

    Args:
        decision: ``worse`` than the baseline, ``not_worse`` by the margin, or ``continue`` before a decision.
        margin: the drop of the success rate that would matter.
        pairs: the number of pairs used.
        evidence_worse: the e-value against "success does not drop".
        evidence_not_worse: the e-value against "success drops by the margin or more".
        last_task: id of the task of the deciding pair; None before a decision.
        last_episode: the episode of the deciding pair; None before a decision.
        baseline: the baseline's name.
        outcome: what was bet on: the name of a bounded outcome; empty for success.
        margin_text: the margin in words.
    """

    decision: Decision
    margin: float
    pairs: int
    evidence_worse: float
    evidence_not_worse: float
    last_task: int | None = None
    last_episode: int | None = None
    baseline: str = DEFAULT_BASELINE
    outcome: str = ""
    margin_text: str = ""

    @property
    def sentence(self) -> str:
        """The decision in words."""
        by = (
            f" by {self.margin_text or f'{100 * self.margin:g} points'}"
            if self.decision == "not_worse"
            else ""
        )
        by += f" in {self.outcome}" if self.outcome else ""
        how = {"worse": "worse than", "not_worse": "not worse than", "continue": "undecided against"}
        pairs = plural(self.pairs, "pair")
        return f"{how[self.decision]} {self.baseline}{by} after {pairs}"


class Stopping:
    """The sequential tests of all variants, fed with pairs ordered by episode, then task.

    A pair is fed only after all earlier pairs in this order, so that neither slots nor interruptions change the
    deciding pair. An episode that is an error forms no pair; while it has an attempt left, later pairs wait. Nor do
    episodes form a pair whose seed or initial state differ. The state depends only on the journal.

    Args:
        variants: the variants' names, in order.
        tasks: the tasks' ids, in order.
        margin: the drop of the success rate that would matter, above 0 and below 1.
        retries: how often an error is retried.
        baseline: the name of the variant that the others are compared with.
        outcome: what is bet on instead of success; pairs that lack this outcome are left out.

    Attributes:
        alpha: 0.05 divided by the number of variants that are compared with the baseline.
        pairs: of each compared variant, the outcomes that its test was fed: success of the baseline and of the variant.
    """

    def __init__(
        self,
        variants: Sequence[str],
        tasks: Sequence[int],
        margin: float,
        retries: int = 0,
        baseline: str = DEFAULT_BASELINE,
        outcome: Bounded | None = None,
    ) -> None:
        self._names = {name: index for index, name in enumerate(variants)}
        self._tasks = {task: index for index, task in enumerate(tasks)}
        self._baseline = baseline
        compared = [name for name in variants if name != baseline]
        self.alpha = ALPHA / max(1, len(compared))
        self._margin, self._retries, self.outcome = margin, retries, outcome
        self._tests = {name: SequentialTest(self.alpha, margin) for name in compared}
        self._next = dict.fromkeys(compared, 0)
        self._attempts: Counter[Trial] = Counter()
        self._outcomes: dict[Trial, EpisodeRecord | None] = {}
        self._last: dict[str, tuple[int, int]] = {}
        self.pairs: dict[str, list[tuple[bool, bool]]] = {name: [] for name in compared}

    def order(self, trial: Trial) -> tuple[int, int, int]:
        """Return a sort key for trials: by variant, episode and task."""
        name, task, episode = trial
        return self._names.get(name, len(self._names)), *self._place(task, episode)

    def wanted(self, trial: Trial) -> bool:
        """Return whether a trial counts: its variant is undecided, or its pair is not after the deciding pair."""
        name, task, episode = trial
        return name not in self._last or self._place(task, episode) <= self._last[name]

    def add(self, record: EpisodeRecord) -> list[str]:
        """Take the journal's next record; return the variants that it decides."""
        trial = record.trial
        self._attempts[trial] += 1
        if record.status != ERROR:
            self._outcomes[trial] = record
        elif self._attempts[trial] > self._retries:
            self._outcomes[trial] = None
        # Several variants may be waiting for a record of the baseline.
        names = list(self._tests) if record.configuration == self._baseline else [record.configuration]
        return [name for name in names if name in self._tests and name not in self._last and self._feed(name)]

    @property
    def stops(self) -> dict[str, SequentialDecision]:
        """The state of the test of each variant except the baseline."""
        ids = list(self._tasks)
        found = {}
        for name, test in self._tests.items():
            episode, task = self._last.get(name, (None, None))
            found[name] = SequentialDecision(
                decision=test.decision,
                margin=self._margin,
                pairs=test.pairs,
                evidence_worse=test.evidence_worse,
                evidence_not_worse=test.evidence_not_worse,
                last_task=None if task is None else ids[task],
                last_episode=episode,
                baseline=self._baseline,
                outcome=self.outcome.name if self.outcome else "",
                margin_text=self.outcome.margin(self._margin)
                if self.outcome
                else f"{100 * self._margin:g} points",
            )
        return found

    def _place(self, task: int, episode: int) -> tuple[int, int]:
        return episode, self._tasks.get(task, len(self._tasks))

    def _feed(self, name: str) -> bool:
        """Feed the pairs that have become complete to a test; return whether they decide it."""
        ids = list(self._tasks)
        while True:
            episode, task = divmod(self._next[name], len(ids))
            reference, other = (self._baseline, ids[task], episode), (name, ids[task], episode)
            if reference not in self._outcomes or other not in self._outcomes:
                return False
            self._next[name] += 1
            one, two = self._outcomes[reference], self._outcomes[other]
            if one is None or two is None or not same_episode(one, two):
                continue
            goods = [
                float(each.success) if self.outcome is None else self.outcome.good(each)
                for each in (one, two)
            ]
            if None in goods:
                continue
            self.pairs[name].append((one.success, two.success))
            if self._tests[name].update(*(good or 0.0 for good in goods)) != "continue":
                self._last[name] = episode, task
                return True


def stopping_of(manifest: Mapping[str, Any]) -> Stopping:
    """Return the tests of a sequential run from its manifest, without pairs yet.

    Raises:
        UserError: there is no such outcome to bet on.
        ValueError: the manifest's settings are damaged.
    """
    settings = convert(manifest["settings"], _Settings)
    names = [entry["name"] for entry in manifest["variants"]]
    tasks = [entry["id"] for entry in manifest["tasks"]]
    return Stopping(
        names,
        tasks,
        settings.sequential,
        settings.retries,
        manifest.get("baseline", DEFAULT_BASELINE),
        None if settings.sequential_on is None else bounded(settings.sequential_on),
    )
