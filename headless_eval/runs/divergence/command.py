"""The command ``headless-eval divergence``: variants are asked along the recorded path of a run's baseline."""

from contextlib import ExitStack

import numpy as np
from rich.console import Console
from rich.status import Status

from headless_eval.config.results import DivergenceConfig
from headless_eval.config.run import PrecisionSettings, RunConfig
from headless_eval.config.stored import run_with
from headless_eval.contracts.variant import DEFAULT_BASELINE, Variant
from headless_eval.errors import UserError
from headless_eval.quant.precision import Precision
from headless_eval.report import build
from headless_eval.report.divergence import divergence_of
from headless_eval.report.divergence_tables import divergence_table
from headless_eval.results import RunDirectory
from headless_eval.results.differences import differences
from headless_eval.runs.again import repeats
from headless_eval.runs.calibrate import calibration_for
from headless_eval.runs.description import describe
from headless_eval.runs.divergence.measure import BaselinePath, why_not
from headless_eval.runs.evaluator import Evaluator
from headless_eval.runs.resume import config_from
from headless_eval.shared.terminal import new_console


def divergence(settings: DivergenceConfig) -> int:
    """Ask variants along the path of a run's baseline, keep the answers in its folder, and print a table.

    Returns:
        0 if all variants were asked along all episodes, 1 if some could not be.

    Raises:
        UserError: the folder holds no run, a process is writing to it, its baseline has no episode, or its episodes
            cannot be simulated again here.
    """
    (folder,) = settings.directories
    console = new_console()
    with ExitStack() as stack:
        run = stack.enter_context(RunDirectory.open(folder, write=True))
        if not repeats(run.manifest):
            raise UserError(
                f"{folder}: simulator or policy does not repeat to the bit, so the recorded actions do not lead "
                "through the same observations again; run --divergence N asks while a run's episodes run"
            )
        kept = run_with(settings.changes, config_from(run.manifest, folder))
        baseline, variants, needs_calibration = _variants(kept, settings)
        status = stack.enter_context(console.status("Loading"))
        evaluator = stack.enter_context(Evaluator(kept, slots=1))
        policy = evaluator.load_policy()
        policy.packdir = kept.packdir
        evaluator.start_simulator()
        if needs_calibration and policy.module is not None:
            policy.calibration = calibration_for(evaluator, folder, console, status)
        if reason := why_not(policy):
            raise UserError(f"{folder}: {reason}")
        path = BaselinePath(
            evaluator.simulator,
            policy,
            run,
            evaluator.tasks,
            evaluator.open_loop_horizon,
            settings.episodes,
        )
        if not path.places:
            raise UserError(f"{folder} keeps no actions of an episode of its baseline, {run.baseline}")
        policy.set_variant(baseline)
        repeated = _check(path, run, evaluator, status, console)
        for number, variant in enumerate(variants, start=1):
            status.update(f"{variant.name}, {number} of {len(variants)}")
            policy.set_variant(variant)
            path.measure(variant)
        run.update_manifest(divergence={"repeated": repeated, **path.describe()})
        summary = build(run)
        status.stop()
        if (found := divergence_of(run, run.records(), summary)) is not None:
            console.print(divergence_table(found))
        for sentence in (*path.lost, *(f"{name}: {why}" for name, why in path.failed.items())):
            console.print(f"not asked: {sentence}", highlight=False, soft_wrap=True)
        console.print(f"What to look at: {folder / 'report.html'}", highlight=False, soft_wrap=True)
    return int(bool(path.describe()))


def _variants(kept: RunConfig, settings: DivergenceConfig) -> tuple[Variant, list[Variant], bool]:
    """Return the baseline, the variants to ask, and whether one of them needs a calibration.

    Raises:
        UserError: a variant is not valid, no variant is left beside the baseline, or the baseline did not run.
    """
    found = {variant.name: variant for variant in kept.variants}
    if kept.baseline not in found:
        raise UserError(f"the baseline, {kept.baseline}, did not run: there is no path to ask along")
    asked = kept
    if settings.dtypes or settings.variant:
        default = PrecisionSettings()
        named = {
            "baseline": DEFAULT_BASELINE,
            "variant": list(settings.variant),
            "dtypes": list(settings.dtypes or default.dtypes),
            "modes": list(settings.modes if settings.dtypes else default.modes),
        }
        asked = run_with(named, kept)
    variants = [variant for variant in asked.variants if variant.name != kept.baseline]
    if settings.dtypes or settings.variant:  # what is added by itself is not asked
        variants = [
            one for one in variants if one.dtype != "float32" or one.settings or "float32" in settings.dtypes
        ]
    if not variants:
        raise UserError(f"there is nothing but the baseline, {kept.baseline}: name others with --dtypes")
    return found[kept.baseline], variants, asked.needs_calibration


def _check(
    path: BaselinePath, run: RunDirectory, evaluator: Evaluator, status: Status, console: Console
) -> float:
    """Ask the baseline itself, and return by how much its actions differ at most from those that it executed.

    Raises:
        UserError: its episodes do not come out the same, or the weights are others.
    """
    status.update("simulating the baseline's episodes again")
    found = path.ask(path.places)
    if not found:
        raise UserError(path.lost[0])
    most = max(float(np.abs(actions - path.taken(place)).max()) for place, actions in found.items())
    if most == 0:
        return most
    evaluator.policy.set_variant(Variant(Precision()))  # at which a manifest describes it
    others = differences(run.manifest, describe(evaluator))
    why = "; ".join(map(str, others)) or "settings, code, weights, versions and hardware are the same"
    if any((one.section, one.name) == ("policy", "fingerprint") for one in others):
        raise UserError(
            f"{run.path}: the policy is not the run's ({why}): name it with --policy or --checkpoint"
        )
    console.print(
        f"{run.baseline} itself departs from what it did by up to {most:.2g} here, so differences of that size mean "
        f"nothing ({why})",
        highlight=False,
        soft_wrap=True,
    )
    return most
