"""Summary of a run: success per variant and task, compared with the baseline in pairs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from headless_eval.contracts.variant import DEFAULT_BASELINE, UNQUANTIZED
from headless_eval.report.comparison import Comparison, compare_episodes
from headless_eval.report.failures import Failures
from headless_eval.report.outcomes import OutcomeChange
from headless_eval.report.psychometric import Curve
from headless_eval.report.statistics import Interval, holm, wilson_interval
from headless_eval.results.pairing import pair
from headless_eval.results.record import ERROR, EpisodeRecord
from headless_eval.results.sequential import ALPHA
from headless_eval.results.stopping import SequentialDecision


@dataclass(frozen=True)
class Row:
    """One variant on one task, or on all tasks.

    Args:
        configuration: the variant's name.
        dtype: the numerical type of its precision.
        mode: ``weights_only``, ``activations_only`` or ``both``.
        task: the task's key, or None for all tasks together.
        episodes: episodes that ended in success or failure.
        successes: episodes that succeeded.
        errors: episodes that were errors; they do not count in ``episodes``.
        rate: successes / episodes, or None without episodes.
        interval: Wilson's 95 % interval of the rate, or None without episodes.
        comparison: comparison with the baseline; None for the baseline itself and without pairs.
        unpaired: episodes that the baseline has under the same number, but from another seed or initial state.
    """

    configuration: str
    dtype: str
    mode: str
    task: str | None
    episodes: int
    successes: int
    errors: int
    rate: float | None
    interval: Interval | None
    comparison: Comparison | None
    unpaired: int = 0

    @property
    def quantized(self) -> bool:
        """Whether the precision changes the model; if not, its mode has no meaning."""
        return self.dtype != UNQUANTIZED


@dataclass(frozen=True)
class Summary:
    """All rows of a run, in the order of its records; each variant's overall row follows its tasks.

    Args:
        suite: the suite's name.
        tasks: key -> name of each task, in order.
        configurations: the variants' names, in order.
        rows: per variant its tasks, then all of them together.
        baseline: the name of the variant that the others are compared with; it need not have run.
        stops: in a sequential run, the state of the test of each variant except the baseline.
        scoped: a sentence that explains the hashes of scopes in names; empty if no name has a hash.
        origin: what has to be known of results that another evaluator wrote; sentences without their full stops.
        outcomes: the outcomes finer than success of each variant, compared with the baseline's.
        failures: how the episodes of each variant fail; empty if no simulator tells.
        divergence: what came of asking variants on the baseline's own path, in a sentence; empty if no
            variant was asked.
        curves: success against difficulty, of graded tasks.
        adaptive: whether levels were chosen by what had succeeded before.
        swept: whether tasks ran under several perturbations, from the same initial states.
    """

    suite: str
    tasks: dict[str, str]
    configurations: tuple[str, ...]
    rows: tuple[Row, ...]
    baseline: str = DEFAULT_BASELINE
    stops: Mapping[str, SequentialDecision] = field(default_factory=dict)
    scoped: str = ""
    origin: tuple[str, ...] = ()
    outcomes: tuple[OutcomeChange, ...] = ()
    failures: tuple[Failures, ...] = ()
    divergence: str = ""
    adaptive: bool = False
    curves: tuple[Curve, ...] = ()
    swept: bool = False

    def row(self, configuration: str, task: str | None = None) -> Row:
        """Return the row of a variant and a task's key, or of all tasks.

        Raises:
            KeyError: the variant or the task is not in the run.
        """
        for row in self.rows:
            if row.configuration == configuration and row.task == task:
                return row
        raise KeyError((configuration, task))

    @property
    def overall(self) -> tuple[Row, ...]:
        """The rows over all tasks, one per variant."""
        return tuple(row for row in self.rows if row.task is None)

    @property
    def stopped(self) -> str:
        """The decisions of the sequential tests, in a sentence or two; empty without decisions."""
        decided = [f"{name} {one.sentence}" for name, one in self.stops.items() if one.decision != "continue"]
        if not decided:
            return ""
        return (
            f"Stopped early by the sequential test: {'; '.join(decided)}. Intervals and p of these take no account of "
            "the stop"
        )

    @property
    def unpaired(self) -> str:
        """Which variants have episodes that are not the baseline's, in a sentence; empty if none has."""
        found = [f"{row.configuration} {row.unpaired}" for row in self.overall if row.unpaired]
        if not found:
            return ""
        return f"Not paired with {self.baseline}, as seed or initial state differ: episodes of {', '.join(found)}"

    @property
    def chosen(self) -> str:
        """What adaptive levels mean for the table, in a sentence; empty without them."""
        if not self.adaptive:
            return ""
        return "Levels were chosen by what had succeeded before: thresholds compare, success over all levels does not"

    @property
    def conditions(self) -> str:
        """What a sweep means for the table, in a sentence; empty without one."""
        if not self.swept:
            return ""
        return (
            "All conditions of the sweep count together here; episodes of one start are not independent, so intervals "
            "and p are too narrow: those by condition hold"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the table has to know beside it: sentences without their full stops."""
        return tuple(
            filter(
                None,
                (
                    *(*self.origin, self.unpaired, self.stopped, self.chosen, self.conditions),
                    *(self.divergence, self.scoped),
                ),
            )
        )

    @property
    def episodes(self) -> int:
        """Episodes that ended in success or failure."""
        return sum(row.episodes for row in self.overall)

    @property
    def successes(self) -> int:
        """Episodes that succeeded."""
        return sum(row.successes for row in self.overall)

    @property
    def errors(self) -> int:
        """Episodes that were errors."""
        return sum(row.errors for row in self.overall)


def summarize(suite: str, records: Iterable[EpisodeRecord], baseline: str = DEFAULT_BASELINE) -> Summary:
    """Return the summary of a run's records: counts, rates with intervals, and comparisons.

    Args:
        suite: the suite's name.
        records: one record per trial (``RunDirectory.records``); their order becomes the summary's.
        baseline: the name of the variant that the others are compared with.
    """
    tasks: dict[str, str] = {}
    cells: dict[tuple[str, str], list[EpisodeRecord]] = defaultdict(list)
    configurations: dict[str, str] = {}
    for record in records:
        tasks.setdefault(record.task_key, record.task_name)
        configurations.setdefault(record.configuration, record.scope)
        cells[record.configuration, record.task_key].append(record)

    rows = []
    for configuration in configurations:
        done = [(task, cells[configuration, task]) for task in tasks if (configuration, task) in cells]
        for task, mine in done:
            rows.append(_row(task, mine, baseline, cells.get((baseline, task), [])))
        everything = [record for _, mine in done for record in mine]
        reference = [record for task, _ in done for record in cells.get((baseline, task), [])]
        rows.append(_row(None, everything, baseline, reference))
    return Summary(
        suite,
        tasks,
        tuple(configurations),
        tuple(_judge_together(rows, baseline)),
        baseline,
        scoped=explain_scopes(configurations),
    )


def explain_scopes(scopes: Mapping[str, str]) -> str:
    """Return a sentence that explains the hashes of scopes in variants' names; empty if no name has a hash.

    Args:
        scopes: the scope of each variant as text, by the variant's name.
    """
    meanings = {
        f"scope_{name.partition('_scope_')[2]}": scope for name, scope in scopes.items() if "_scope_" in name
    }
    return "; ".join(f"{name}: modules whose names match {scope}" for name, scope in meanings.items())


def pairs_to_detect(summary: Summary, drop: float) -> dict[str, int | None]:
    """Return for each compared variant the number of pairs that shows a drop with 80 % power.

    The level is that of Holm's strictest step, 0.05 divided by the number of compared variants.

    Args:
        summary: a run's summary.
        drop: the drop of the success rate, above 0 and at most 1.
    """
    compared = [(row.configuration, row.comparison) for row in summary.overall if row.comparison]
    return {name: one.needed(drop, ALPHA / len(compared)) for name, one in compared}


def compare(records: Iterable[EpisodeRecord], baseline: Iterable[EpisodeRecord]) -> Comparison | None:
    """Compare two variants on the episodes that both finished; None if both finished none in common."""
    return compare_episodes(pair(records, baseline))


def _judge_together(rows: Sequence[Row], baseline: str) -> list[Row]:
    """Complete the comparisons over all tasks, which are one family of hypotheses."""
    highest = next((row.rate for row in rows if row.task is None and row.configuration == baseline), None)
    family = {index: row.comparison for index, row in enumerate(rows) if row.task is None and row.comparison}
    adjusted = dict(zip(family, holm([one.p_value for one in family.values()]), strict=True))
    judged = list(rows)
    for index, one in family.items():
        # Holm's strictest step, so that the drop is found whatever the other variants show.
        drop = one.drop_shown(highest or 0.0, ALPHA / len(family))
        judged[index] = replace(rows[index], comparison=replace(one, p_holm=adjusted[index], detectable=drop))
    return judged


def _row(
    task: str | None, records: Sequence[EpisodeRecord], baseline: str, reference: Sequence[EpisodeRecord]
) -> Row:
    first = records[0]
    errors = sum(record.status == ERROR for record in records)
    successes = sum(record.success for record in records)
    episodes = len(records) - errors
    pairs = pair(records, reference) if first.configuration != baseline else None
    return Row(
        configuration=first.configuration,
        dtype=first.dtype,
        mode=first.mode,
        task=task,
        episodes=episodes,
        successes=successes,
        errors=errors,
        rate=successes / episodes if episodes else None,
        interval=wilson_interval(successes, episodes) if episodes else None,
        comparison=compare_episodes(pairs) if pairs else None,
        unpaired=len(pairs.unmatched) if pairs else 0,
    )
