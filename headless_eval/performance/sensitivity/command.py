"""The command ``headless-eval sensitivity``: prints a table and advice, and plots a heat map."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from headless_eval.config.performance import SensitivityConfig
from headless_eval.config.run import RunConfig
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.performance.components import Component, components_of
from headless_eval.performance.formatting import markdown, percent, scientific, significant
from headless_eval.performance.progress_bar import ProgressBar
from headless_eval.performance.result_files import new_folder, write_csv, write_json, write_text
from headless_eval.performance.sensitivity.measure import (
    ALL,
    AND,
    UNION,
    PartEffect,
    Sensitivity,
    advise,
    is_candidate,
    part_name,
    parts_of,
)
from headless_eval.performance.sensitivity.observations import (
    observations_of_run,
    read_observations,
    save_observations,
)
from headless_eval.performance.sensitivity.plot import sensitivity_figure
from headless_eval.policies.registry import float32_only
from headless_eval.quant.precision import Precision, Scope, configurations
from headless_eval.report.statistics import wilson_interval
from headless_eval.results import ERROR, EpisodeRecord
from headless_eval.rollout.recording import RecordedObservation
from headless_eval.rollout.trials import make_trials
from headless_eval.runs.calibrate import record_observations
from headless_eval.runs.evaluator import Evaluator
from headless_eval.shared.terminal import Listing, new_console

_FILE = "sensitivity.json"
_HEADER = ["part", "precision", "of parameters", "error", "largest, relative", "largest change", "success"]
_SPARE = (("largest, relative",), ("of parameters",))  # columns left out on a narrow terminal, in this order
_SHOWN = 24


def sensitivity(config: SensitivityConfig) -> int:
    """Measure every part, print the table and the advice, and write the files.

    Returns:
        The exit status: 0, or 1 if episodes ended in errors.

    Raises:
        UserError: a flag is not valid for this policy.
    """
    if config.checkpoint is None and float32_only(config.policy):
        raise UserError(f"the policy {config.policy!r} has no model: there are no parts to round")
    run = RunConfig.of_flags(config)
    precisions = [one for one in configurations(config.dtypes, config.modes) if one.dtype != "float32"]
    if not precisions:
        raise UserError("--dtypes names float32 alone: name a type to round to, such as int8")
    console = new_console()
    with ExitStack() as stack:
        evaluator = stack.enter_context(Evaluator(run))
        folder = stack.enter_context(new_folder(config.results, "sensitivity", _FILE))
        work = stack.enter_context(ProgressBar(console, 1.0))
        work.say("loading the policy")
        policy = evaluator.load_policy()
        if not policy.has_model:
            raise UserError(
                f"the policy {policy.name} holds no model, of torch or of JAX: there are no parts to round"
            )
        components = components_of(policy.module_sizes)
        if config.observations is None or config.success:
            evaluator.start_simulator()
        seen, origin = _observations(config, evaluator, work)
        save_observations(folder / "observations.npz", seen)
        if run.needs_calibration:
            work.say("calibrating on the observations")
            pairs = [one.observation for one in seen], [one.noise for one in seen]
            policy.calibration = policy.record_inputs(*pairs, policy=policy.name, number=len(seen))
        title = f"{policy.name}: one part rounded at a time, {len(seen)} observations {origin}"
        effects: list[PartEffect] = []
        try:
            advice = _measure(config, policy, precisions, seen, work, effects, components)
        except KeyboardInterrupt:  # what there is is kept
            _write(folder, title, effects, ["Interrupted."])
            raise
        faults = 0
        if config.success:
            effects, faults = _add_success(config, evaluator, precisions, effects, advice, work)
    lines = [_advice_line(one, advice, effects, config, components) for one in precisions]
    note = (
        "error: root mean square difference of the action chunks to float32, relative to theirs, in normalised "
        "units; largest change: of an action, in the robot's own units; same noise. The tolerance is on actions, not "
        "on success: a policy may succeed although its actions differ by more, and "
        + (
            "the column success says what was seen."
            if config.success
            else "--success N measures it for each component; headless-eval run, for the whole model."
        )
    )
    _write(folder, title, effects, [*lines, note])
    ordered = _by_error(effects)
    console.print(_listing(ordered[:_SHOWN], title))
    if len(ordered) > _SHOWN:
        console.print(f"{len(ordered) - _SHOWN} more in {folder / 'sensitivity.csv'}", highlight=False)
    for line in [*lines, note]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if faults:
        console.print(
            f"{faults} episodes ended in an error and count as neither success nor failure", highlight=False
        )
    print(folder)
    return int(bool(faults))


def _observations(
    config: SensitivityConfig, evaluator: Evaluator, work: ProgressBar
) -> tuple[list[RecordedObservation], str]:
    """Return the observations and a description of their source."""
    if config.observations is not None and config.observations.is_dir():
        work.say("simulating the run's episodes again")
        seen = observations_of_run(config.observations, evaluator.policy, config.number)
        return seen, f"of {config.observations}"
    if config.observations is not None:
        return read_observations(config.observations)[: config.number], f"of {config.observations}"
    work.say("recording observations")
    episodes = max(3, len(evaluator.tasks))
    seen = record_observations(
        evaluator.simulator,
        evaluator.policy,
        evaluator.tasks,
        config.seed,
        evaluator.open_loop_horizon,
        episodes=episodes,
        number=config.number,
        tell=lambda text: work.say(text.replace("Calibrating", "recording observations")),
    )
    return seen, f"of {episodes} episodes at float32"


def _measure(
    config: SensitivityConfig,
    policy: LocalPolicy,
    precisions: Sequence[Precision],
    seen: Sequence[RecordedObservation],
    work: ProgressBar,
    effects: list[PartEffect],
    components: Sequence[Component],
) -> dict[str, list[PartEffect]]:
    """Add the effect of every part to a list; return the measured sets of parts for the advice, by precision."""
    parts = parts_of(policy.module_sizes, config.by)
    work.expect(len(precisions) * (len(parts) + 4))
    measuring = Sensitivity(policy, seen)
    advice: dict[str, list[PartEffect]] = {}
    for precision in precisions:
        for part in parts:
            work.say(f"{precision.name}: {part.name}")
            effects.append(measuring.measure(precision, part))
            work.advance()
        single = _candidates(effects, precision, config, components)
        work.say(f"{precision.name}: what may be rounded together")
        advice[precision.name] = list(
            advise(single, config.tolerance, lambda part: measuring.measure(precision, part))  # noqa: B023
        )
        work.advance(4)
    policy.set_precision(Precision())
    return advice


def _candidates(
    effects: Sequence[PartEffect],
    precision: Precision,
    config: SensitivityConfig,
    components: Sequence[Component],
) -> list[PartEffect]:
    measured = [one for one in effects if one.precision == precision.name]
    return [one for one in measured if is_candidate(one, config.by, components)]


def _add_success(
    config: SensitivityConfig,
    evaluator: Evaluator,
    precisions: Sequence[Precision],
    effects: list[PartEffect],
    advice: dict[str, list[PartEffect]],
    work: ProgressBar,
) -> tuple[list[PartEffect], int]:
    """Run episodes at float32, with each component rounded, and with the advised parts rounded together."""
    by_name = {one.name: one for one in precisions}
    rows = [one for one in effects if one.layer is None and one.status == "ok"]
    rows += [tried[-1] for tried in advice.values() if tried and tried[-1].status == "ok"]
    scoped: dict[str, Precision] = {"float32": Precision()}
    for row in rows:
        precision = replace(by_name[row.precision], scope=Scope(row.include))
        scoped[precision.name] = precision
    outcomes: dict[str, list[bool]] = {name: [] for name in scoped}
    faults = 0
    each = len(evaluator.tasks) * config.success

    def on_episode(record: EpisodeRecord, _: np.ndarray) -> None:
        nonlocal faults
        faults += record.status == ERROR
        if record.status != ERROR:
            outcomes[record.configuration].append(record.success)
        work.say(f"episodes: {sum(map(len, outcomes.values()))} of {each * len(scoped)}")
        work.advance()

    work.expect(each * len(scoped))
    trials = make_trials(map(Variant, scoped.values()), evaluator.tasks, config.success, config.seed)
    evaluator.run_trials(trials, on_episode)
    evaluator.policy.set_precision(Precision())

    def with_success(one: PartEffect) -> PartEffect:
        if one not in rows:
            return one
        found = outcomes[replace(by_name[one.precision], scope=Scope(one.include)).name]
        return replace(one, successes=sum(found), episodes=len(found))

    extra = [tried[-1] for tried in advice.values() if tried]
    extra = [one for one in extra if one.include not in {other.include for other in effects}]
    base = outcomes["float32"]
    float32 = PartEffect("float32", "nothing", None, "$^", 0.0, 0.0, 0.0, 0.0, sum(base), len(base))
    return [float32, *map(with_success, [*effects, *extra])], faults


def _by_error(effects: Sequence[PartEffect]) -> list[PartEffect]:
    """Sort effects by error, the largest first; parts without figures come last."""
    return sorted(effects, key=lambda one: -1.0 if one.error is None else one.error, reverse=True)


def _advice_line(
    precision: Precision,
    advice: dict[str, list[PartEffect]],
    effects: Sequence[PartEffect],
    config: SensitivityConfig,
    components: Sequence[Component],
) -> str:
    single = _candidates(effects, precision, config, components)
    tried = advice[precision.name]
    within = f"within {percent(config.tolerance)} of float32's actions"
    if not tried or tried[-1].error is None or tried[-1].error > config.tolerance:
        return f"Advice, {precision.name}: no part stays {within}; try a larger --tolerance or another type."
    best = tried[-1]
    command = f"headless-eval run --dtypes {precision.dtype}"
    command += f" --modes {precision.mode}" if precision.method is None else ""
    together = best.component.split(AND)
    rounded = [one for one in single if part_name(one) in together]
    kept = [one for one in single if one.status == "ok" and one not in rounded]
    error = f"error {scientific(best.error)}, {within}"
    if not kept:
        return f"Advice, {precision.name}: all of the model may be rounded: {error}. {command}"
    if len(kept) < len(rounded):
        which = f"all but {_with_errors(kept)}"
        command += f" --exclude '{UNION.join(one.include for one in kept)}'"
    else:
        which = _with_errors(rounded)
        command += f" --include '{best.include}'"
    return (
        f"Advice, {precision.name}: {which} may be rounded{' together' * (len(rounded) > 1)} "
        f"({percent(best.parameters)} of the parameters): {error}. {command}"
    )


def _with_errors(parts: Sequence[PartEffect]) -> str:
    """Return the names of parts with each part's own error, the largest first."""
    return ", ".join(f"{part_name(one)} ({scientific(one.error)})" for one in _by_error(parts))


def _cells(one: PartEffect) -> list[str]:
    name = "the whole model" if one.component == ALL else part_name(one)
    cells = ["what may be rounded" if AND in name else name, one.precision, percent(one.parameters)]
    if one.status != "ok":
        return [*cells, one.status[:40], "–", "–", "–"]
    success = "–"
    if one.successes is not None and one.episodes:
        low, high = wilson_interval(one.successes, one.episodes)
        success = f"{one.successes}/{one.episodes} [{100 * low:.0f}, {100 * high:.0f}]"
    return [*cells, scientific(one.error), scientific(one.error_max), significant(one.largest), success]


def _listing(effects: Sequence[PartEffect], title: str) -> Listing:
    """Return the table for the terminal, without empty columns."""
    rows = [_cells(one) for one in effects]
    spare = [name for index, name in enumerate(_HEADER) if len({row[index] for row in rows}) == 1]
    if "precision" in spare:
        title += f", {rows[0][_HEADER.index('precision')]}"
    kept = [index for index, name in enumerate(_HEADER) if name not in spare]
    header = [_HEADER[index] for index in kept]
    return Listing(header, [[row[index] for index in kept] for row in rows], 1, title, spare=_SPARE)


def _write(folder: Path, title: str, effects: Sequence[PartEffect], lines: Sequence[str]) -> None:
    ordered = _by_error(effects)
    write_csv(folder / "sensitivity.csv", ordered)
    write_json(folder / _FILE, {"title": title, "parts": ordered, "notes": list(lines)})
    table = markdown(_HEADER, map(_cells, ordered), 2)
    write_text(folder / "sensitivity.md", f"# {title}\n\n{table}\n" + "\n\n".join(lines) + "\n")
    if any(one.error for one in effects):
        sensitivity_figure(folder / "sensitivity.png", title, effects)
