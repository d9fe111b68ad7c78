"""The check of a certificate: signature, statistics, hashes, and a sample of its episodes, run again."""

import random
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from headless_eval.config.results import VerifyConfig
from headless_eval.contracts.variant import Variant
from headless_eval.quant.precision import Precision
from headless_eval.results import ERROR, EpisodeRecord
from headless_eval.runs.again import SAMPLE, repeats, trials_of
from headless_eval.runs.calibrate import calibration_for
from headless_eval.runs.certificate import signature
from headless_eval.runs.certificate.contents import first_action, without_folders
from headless_eval.runs.certificate.document import Certificate, Episode, decode, read_bytes
from headless_eval.runs.certificate.identity import what_was_evaluated, where_it_ran
from headless_eval.runs.certificate.loading import settings_to_check
from headless_eval.runs.certificate.repeated import Repeated, compare
from headless_eval.runs.certificate.statement import (
    CONSISTENT,
    DIFFERS,
    FAILS,
    HOLDS,
    UNCHECKED,
    Statement,
)
from headless_eval.runs.certificate.statistics import (
    first_difference,
    missing_trials,
    rate_lines,
    statistics_of,
    summary_of,
)
from headless_eval.runs.description import describe
from headless_eval.runs.evaluator import Evaluator
from headless_eval.shared.terminal import new_console
from headless_eval.shared.text import plural

_SHOWN = 5


def check_certificate(settings: VerifyConfig) -> int:
    """Check a certificate and print what was found of each statement.

    Returns:
        0 if none is refuted, else 1.

    Raises:
        UserError: the file is no certificate; something has to be named by a flag; or this machine cannot run the
            episodes.
    """
    (path,) = settings.directories
    data = read_bytes(path)
    certificate = decode(data, path)
    print(
        f"certificate of {plural(len(certificate.episodes), 'episode')} of {certificate.suite}, policy "
        f"{str(certificate.policy.get('name'))!r:.60}, run {certificate.started_at}"
    )
    found = []
    for statement in _statements(settings, data, certificate):
        found.append(statement)
        print(statement, flush=True)
    refuted = [one.subject for one in found if one.result == FAILS]
    unchecked = [one.subject for one in found if one.result == UNCHECKED]
    by_chance = [one.subject for one in found if one.result == CONSISTENT]
    if refuted:
        print(f"does not hold: {', '.join(refuted)}")
        return 1
    how = f"{', '.join(by_chance)} statistically, the others exactly" if by_chance else "exactly"
    print(f"what was checked holds ({how})" + (f"; not checked: {', '.join(unchecked)}" if unchecked else ""))
    return 0


def _statements(settings: VerifyConfig, data: bytes, certificate: Certificate) -> Iterator[Statement]:
    yield signature.check(data, settings.directories[0], settings.signature, settings.signers)
    yield _complete(certificate)
    yield _statistics(certificate)
    if settings.without_running:
        yield Statement(UNCHECKED, "weights, code, hardware, episodes", "--without-running")
        return
    yield from _here(settings, certificate)


def _complete(certificate: Certificate) -> Statement:
    missing = missing_trials(certificate)
    errors = sum(one.status == ERROR for one in certificate.episodes)
    text = f"all that the settings name ({len(certificate.episodes)})"
    if missing:
        return Statement(FAILS, "episodes", f"{missing} that the settings name are missing")
    return Statement(HOLDS, "episodes", text + (f"; {errors} of them ended in an error" if errors else ""))


def _statistics(certificate: Certificate) -> Statement:
    different = first_difference(certificate.statistics, statistics_of(certificate))
    rates = tuple(rate_lines(summary_of(certificate)))
    if different is not None:
        text = f"not those of the certificate's episodes: {different}; by the episodes:"
        return Statement(FAILS, "statistics", text, rates)
    return Statement(HOLDS, "statistics", "recomputed from the certificate's episodes, the same:", rates)


def _here(settings: VerifyConfig, certificate: Certificate) -> Iterator[Statement]:
    """Open policy and simulator, and yield the statements that need them."""
    config = settings_to_check(certificate, settings, cuda=_has_gpu())
    chosen, seed = _drawn(certificate, settings)
    evaluator = Evaluator(config, slots=max(1, len(chosen)))
    console = new_console(stderr=True)
    with evaluator:
        with console.status("Loading") as status:
            policy = evaluator.load_policy()
            evaluator.start_simulator()
            if config.needs_calibration:
                policy.calibration = calibration_for(evaluator, None, console, status)
        first = list(what_was_evaluated(certificate, without_folders(describe(evaluator))))
        if config.calibration is None:
            first = [_recorded_anew(one) if one.subject == "calibration" else one for one in first]
        yield from first
        if any(one.result == FAILS for one in first):
            yield Statement(UNCHECKED, "sample", "no episode was run again: it would be another evaluation's")
            return
        repeated = _run_again(evaluator, certificate, chosen)
        policy.set_variant(Variant(Precision()))  # at which a manifest describes it
        # Now that it has rendered, the simulator knows what with.
        now = without_folders(describe(evaluator))
    places = list(where_it_ran(certificate, now))
    yield from places
    other = any(one.result in (DIFFERS, FAILS) for one in [*first, *places])
    exact = repeats(certificate.manifest()) and repeats(now)
    if not exact:
        text = "simulator or policy does not repeat to the bit: successes are compared"
        yield Statement(DIFFERS, "determinism", text)
    total = sum(one.status != ERROR for one in certificate.episodes)
    drawn = f"{len(repeated)} of {plural(total, 'episode')} run again"
    drawn += "" if len(repeated) == total else f", drawn by --sample-seed {seed}"
    yield from compare(repeated, exact and not other, drawn, total)


def _recorded_anew(found: Statement) -> Statement:
    if found.result != FAILS:
        return replace(found, text=f"recorded anew, {found.text}")
    text = f"recorded anew, {found.text}; the run's file, by --calibration, repeats it exactly"
    return Statement(DIFFERS, found.subject, text)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _drawn(certificate: Certificate, settings: VerifyConfig) -> tuple[list[Episode], int]:
    """Return the episodes to run again, and the seed that drew them; whoever made the certificate cannot know it."""
    seed = secrets.randbelow(2**31) if settings.sample_seed is None else settings.sample_seed
    episodes = [one for one in certificate.episodes if one.status != ERROR]
    number = settings.sample or SAMPLE
    if settings.all or number >= len(episodes):
        return episodes, seed
    return [
        episodes[index] for index in sorted(random.Random(seed).sample(range(len(episodes)), number))
    ], seed


def _run_again(evaluator: Evaluator, certificate: Certificate, chosen: Sequence[Episode]) -> list[Repeated]:
    then = {one.trial: one for one in chosen}
    order = [variant.name for variant in evaluator.settings.variants]
    records = [record for record in certificate.records() if record.trial in then]
    records.sort(key=lambda record: order.index(record.configuration))
    trials = trials_of(records, evaluator, "the certificate")
    repeated = []
    with new_console(stderr=True).status("Running episodes again") as status:

        def on_episode(record: EpisodeRecord, actions: np.ndarray) -> None:
            repeated.append(Repeated(then[record.trial], record, first_action(actions)))
            status.update(f"{len(repeated)} of {len(trials)} episodes run again")

        evaluator.run_trials(trials, on_episode)
    return sorted(repeated, key=lambda one: list(then).index(one.then.trial))
