"""Verification of a run: its trials are run again, or compared with those of a second run; or of a certificate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headless_eval.config.results import VerifyConfig
from headless_eval.config.stored import run_with
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.quant.precision import Precision
from headless_eval.report.summary import compare
from headless_eval.results import ERROR, EpisodeRecord, RunDirectory
from headless_eval.results.differences import Difference, differences
from headless_eval.results.pairing import same_episode
from headless_eval.results.sequential import ALPHA
from headless_eval.runs.again import SAMPLE, repeats, trials_of
from headless_eval.runs.calibrate import FILE, saved_calibration
from headless_eval.runs.certificate.check import check_certificate
from headless_eval.runs.description import describe
from headless_eval.runs.evaluator import Evaluator
from headless_eval.runs.resume import config_from
from headless_eval.shared.terminal import new_console
from headless_eval.shared.text import plural

_SHOWN = 5


@dataclass(frozen=True)
class Mismatch:
    """A trial that came out differently.

    Args:
        trial: (configuration, task id, episode).
        sentence: what differs first: the step, its replan and its action dimension, by how much; or the outcome.
    """

    trial: tuple[str, int, int]
    sentence: str

    def __str__(self) -> str:
        configuration, task, episode = self.trial
        return f"{configuration}, task {task}, episode {episode}: {self.sentence}"


def compare_trials(
    then: EpisodeRecord,
    now: EpisodeRecord,
    actions_then: np.ndarray | None,
    actions_now: np.ndarray | None,
    horizon: int,
) -> Mismatch | None:
    """Compare two records of a trial, and their executed actions (steps, dims) where those are there.

    Args:
        then: one record.
        now: the other.
        actions_then: its executed actions, or None if they were not kept.
        actions_now: those of the other.
        horizon: actions executed of each chunk, which makes a step's replan.

    Returns:
        None if initial state, hash, status and number of steps are the same.
    """
    if now.status == ERROR and then.status != ERROR:
        kind = (now.error or {}).get("type")
        return Mismatch(then.trial, f"{then.status} then, an error now ({kind})")
    if not same_episode(then, now):
        return Mismatch(then.trial, "it starts from another seed or another initial state now")
    same = ("actions_sha256", "status", "steps")
    if all(getattr(then, name) == getattr(now, name) for name in same):
        return None
    outcome = f"{then.status} after {then.steps} steps then, {now.status} after {now.steps} now"
    if then.actions_sha256 == now.actions_sha256:
        return Mismatch(then.trial, f"the same actions, yet {outcome}")
    if actions_then is None or actions_now is None:
        return Mismatch(then.trial, f"other actions, but a run kept none to tell which; {outcome}")
    steps = min(len(actions_then), len(actions_now))
    if actions_then.shape[1] != actions_now.shape[1]:
        return Mismatch(
            then.trial, f"{actions_then.shape[1]} action dimensions then, {actions_now.shape[1]} now"
        )
    differ = actions_then[:steps] != actions_now[:steps]
    if not differ.any():
        return Mismatch(then.trial, f"the same actions for {steps} steps; {outcome}")
    step, dim = (int(index) for index in np.argwhere(differ)[0])
    old, new = float(actions_then[step, dim]), float(actions_now[step, dim])
    most = float(np.abs(actions_then[:steps].astype(np.float64) - actions_now[:steps]).max())
    return Mismatch(
        then.trial,
        f"replan {step // horizon} (step {step}), action dimension {dim}: {old:.9g} then, {new:.9g} now, a difference "
        f"of {abs(new - old):.3g}; at most {most:.3g} over {steps} steps; {outcome}",
    )


def compare_runs(one: Path, other: Path) -> int:
    """Compare two runs trial by trial, and print what differs.

    Returns:
        0 if all trials that ended without an error in both are the same, 1 if some differ or none is in both.
        A trial that is in one of them alone is said, and counts as neither.

    Raises:
        UserError: a folder holds no run.
    """
    first, second = RunDirectory.open(one), RunDirectory.open(other)
    here, there = (
        {(record.trial, record.seed): record for record in run.records() if record.status != ERROR}
        for run in (first, second)
    )
    pairs = [(record, there[key]) for key, record in here.items() if key in there]
    if not pairs:
        print("no trial of the same seed ended without an error in both runs: there is nothing to compare")
        return 1
    alone = [key[0][0] for key in here.keys() ^ there.keys()]
    if alone:
        counts = ", ".join(f"{name} {alone.count(name)}" for name in sorted(set(alone)))
        print(f"not compared, as they ended without an error in only one of the runs: {counts}")
    horizon = _horizon(first.manifest)
    mismatches = [
        mismatch
        for then, now in pairs
        if then != now
        and (mismatch := compare_trials(then, now, first.actions(then), second.actions(now), horizon))
    ]
    found = differences(first.manifest, second.manifest)
    if not (repeats(first.manifest) and repeats(second.manifest)):
        return _tell_statistically(pairs, found)
    return _tell(len(pairs), mismatches, found)


def verify(settings: VerifyConfig) -> int:
    """Run trials of a run again, compare two runs, or check a certificate, as the settings say; return the exit status.

    Raises:
        UserError: as of ``repeat``, ``compare_runs`` and ``check_certificate``.
    """
    if settings.of_certificate:
        return check_certificate(settings)
    folder, *others = settings.directories
    if others:
        return compare_runs(folder, *others)
    return repeat(
        folder, sample=None if settings.all else settings.sample or SAMPLE, changes=settings.changes
    )


def repeat(
    folder: Path,
    *,
    sample: int | None = SAMPLE,
    changes: Mapping[str, Any] | None = None,
) -> int:
    """Run trials of a finished run again, and print whether they come out the same.

    Args:
        folder: of the run, wherever it lies now.
        sample: how many trials, spread evenly over the run; None for all.
        changes: settings that have to be others here, such as where the checkpoint lies.

    Returns:
        0 if all are the same, 1 if some differ. Where the simulator does not repeat to the bit, outcomes are compared:
        1 if the success rates differ significantly.

    Raises:
        UserError: the folder holds no run, every trial ended in an error, or the run cannot be repeated here.
    """
    run = RunDirectory.open(folder)
    config = run_with(changes or {}, config_from(run.manifest, folder))
    records = [record for record in run.records() if record.status != ERROR]
    if not records:
        raise UserError(f"{folder} has no trial without an error to repeat")
    if config.needs_calibration and not (folder / FILE).is_file():
        raise UserError(f"{folder / FILE} is missing: methods were calibrated by it; copy it back")
    chosen = _spread(records, sample)
    evaluator = Evaluator(config, slots=len(chosen))
    trials = trials_of(chosen, evaluator, folder)
    then = {record.trial: record for record in chosen}
    mismatches: list[Mismatch] = []
    console = new_console()
    horizon = _horizon(run.manifest)
    repeated: list[EpisodeRecord] = []
    with evaluator, console.status("Loading") as status:
        policy = evaluator.load_policy()
        if config.needs_calibration:
            policy.calibration = saved_calibration(policy, folder, None)
        policy.packdir = config.packdir
        evaluator.start_simulator()

        def on_episode(record: EpisodeRecord, actions: np.ndarray) -> None:
            repeated.append(record)
            status.update(f"{len(repeated)} of {len(trials)} trials repeated")
            old = then[record.trial]
            mismatch = compare_trials(old, record, run.actions(old), actions, horizon)
            if mismatch:
                mismatches.append(mismatch)

        evaluator.run_trials(trials, on_episode)
        policy.set_variant(Variant(Precision()))  # at which a manifest describes it
        # Now that it has rendered, the simulator knows what with.
        found = differences(run.manifest, describe(evaluator))
    if not repeats(run.manifest):
        ended = [record for record in repeated if record.status != ERROR]
        return _tell_statistically([(then[record.trial], record) for record in ended], found)
    order = {trial: index for index, trial in enumerate(then)}
    mismatches.sort(key=lambda mismatch: order[mismatch.trial])
    return _tell(len(trials), mismatches, found)


def _spread(records: Sequence[EpisodeRecord], sample: int | None) -> list[EpisodeRecord]:
    """Return so many of the records, evenly spread, so that configurations and tasks are among them."""
    if sample is None or sample >= len(records):
        return list(records)
    return [records[(2 * index + 1) * len(records) // (2 * sample)] for index in range(sample)]


def _horizon(manifest: Mapping[str, Any]) -> int:
    settings = manifest.get("settings")
    horizon = settings.get("open_loop_horizon") if isinstance(settings, dict) else None
    if type(horizon) is not int or horizon < 1:
        raise UserError("the run's manifest is damaged: it states no open-loop horizon")
    return horizon


def _tell_statistically(
    pairs: Sequence[tuple[EpisodeRecord, EpisodeRecord]], found: Sequence[Difference]
) -> int:
    """Print whether trials succeed as often as before, where actions cannot be the same; return the exit status."""
    print("simulator or policy does not repeat to the bit: outcomes are compared, not actions")
    result = compare([now for _, now in pairs], [then for then, _ in pairs])
    if result is None:
        print("no trial ended without an error both times: there is nothing to compare")
        return 1
    then, now = (sum(record.success for record in records) for records in zip(*pairs, strict=True))
    low, high = (100 * bound for bound in result.interval)
    print(
        f"{then} of {result.number} trials succeeded then, {now} now: a difference of {100 * result.difference:+.0f} "
        f"points, 95 % interval {low:+.0f} to {high:+.0f}, p = {result.p_value:.2g}"
    )
    if found:
        print("these differ, too:")
        for difference in found:
            print(f"  {difference}")
    return 1 if result.p_value <= ALPHA else 0


def _tell(number: int, mismatches: Sequence[Mismatch], found: Sequence[Difference]) -> int:
    """Print the findings and return the exit status."""
    trials = plural(number, "trial")
    if not mismatches:
        print(f"the same: {trials}, every action to the last bit")
    else:
        print(f"{len(mismatches)} of {trials} differ; the first:")
        for mismatch in mismatches[:_SHOWN]:
            print(f"  {mismatch}")
    if found:
        print("what may be why:" if mismatches else "although these differ:")
        for difference in found:
            print(f"  {difference}")
    elif mismatches:
        print(
            "settings, code, weights, versions and hardware are the same: something here is not deterministic"
        )
    return 1 if mismatches else 0
