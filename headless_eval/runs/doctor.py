"""The command ``doctor``: checks a policy before an evaluation, and says what to do about what failed.

With a suite it also looks for the pitfalls of evaluations: ``runs.pitfalls``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from headless_eval.config.run import RunConfig
from headless_eval.contracts.compatibility import Declared
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy, load_policy
from headless_eval.policies.adapter import declared_of
from headless_eval.policies.baselines import BASELINES
from headless_eval.policies.checks import FAILED, OK, SKIPPED, WARNING, Check
from headless_eval.policies.device import check_device
from headless_eval.policies.registry import find_claimant, find_family, find_policy
from headless_eval.policies.trained_on import read_trained_on
from headless_eval.quant.precision import Precision
from headless_eval.runs.check_table import STYLES, check_table
from headless_eval.runs.compatibility import check, table
from headless_eval.runs.evaluator import Evaluator
from headless_eval.runs.pitfalls import look_for_pitfalls
from headless_eval.runs.pitfalls.evidence import EPISODES, Evidence
from headless_eval.runs.pitfalls.known import PITFALLS, Finding
from headless_eval.shared.terminal import Listing, new_console
from headless_eval.sims import egl_beside_cuda
from headless_eval.sims.registry import SimulatorSettings, Suite, find_suite, find_tasks


def doctor(
    policy: str,
    checkpoint: str | Path | None,
    config: str | None,
    config_file: Path | None,
    tokenizer: Path | None,
    device: str,
    dtype: str,
    robot: str | None = None,
    suite: str | None = None,
    policy_args: Sequence[str] = (),
    simulator: SimulatorSettings | None = None,
    seconds: float = 60.0,
) -> int:
    """Print a table of all checks, and, with a suite, tables of what policy and suite declare and of the pitfalls.

    Args:
        policy, checkpoint, config, config_file, tokenizer, device, dtype, robot, policy_args: as of ``load_policy``.
        suite: the suite's name or place; None: that of the policy's training, if its folder tells, for the pitfalls.
        simulator: settings of the suite's simulator.
        seconds: the time for episodes that show pitfalls; 0 runs none.

    Returns:
        The exit status: 0 nothing failed, 2 something did.

    Raises:
        UserError: the folder, configuration, suite or device does not exist, a policy of the user's own cannot be
            loaded, or there is nothing to check.
    """
    check_device(device)
    compared = None if suite is None else find_suite(suite)
    if checkpoint is None and find_claimant(policy) is not None:
        if policy in BASELINES:
            if compared is None:
                raise UserError(f"the policy {policy!r} has no checkpoint: there is nothing to check")
            robot = robot or compared.robot
        look = _Look(suite, (), simulator, seconds)
        arguments = tuple(policy_args)
        return _examine_loaded(policy, compared, look, device=device, robot=robot, policy_args=arguments)
    folder, name = find_policy(policy, checkpoint)
    family = find_family(folder, config, config_file)
    settings = family.read_config(folder, config, config_file, robot)
    examine = getattr(family, "examine", None)
    if examine is None:
        raise UserError(f"no checks are known for a policy such as {name}")
    console = new_console()
    console.print(f"{name} as {settings.name}, {dtype} on {device}", highlight=False)
    checks = list(examine(folder, settings, tokenizer, device, dtype, trained_prompt(folder)))
    if device.startswith("cuda"):
        checks.append(_drawing(device))
    console.print(check_table(checks))
    horizon = getattr(settings, "open_loop_horizon", None) or settings.robot.open_loop_horizon
    fits = _compare(console, name, declared_of(settings.robot, settings), compared, horizon)
    failures, warnings = (sum(one.status == status for one in checks) for status in (FAILED, WARNING))
    if failures:
        console.print(f"{failures} of {len(checks)} checks failed: this checkpoint cannot be evaluated so.")
    elif fits:
        console.print("This checkpoint can be evaluated" + (f"; warnings: {warnings}." if warnings else "."))
        trained = read_trained_on(folder)
        look = _Look(suite, (), simulator, seconds)
        if trained is not None and suite in (None, trained.suite):
            look = _Look(trained.suite, trained.tasks, simulator if suite else None, seconds)
        return look.at(
            console,
            policy,
            checkpoint=checkpoint,
            config=config,
            config_file=config_file,
            tokenizer=tokenizer,
            device=device,
            dtype=dtype,
            robot=robot,
        )
    return 2


@dataclass(frozen=True)
class _Look:
    """A look for pitfalls on a suite; None: there is no suite to look with.

    Args:
        suite: its name or place.
        tasks: the tasks to look at; empty for all.
        simulator: settings of its simulator.
        seconds: the time for episodes.
    """

    suite: str | None
    tasks: tuple[str, ...]
    simulator: SimulatorSettings | None
    seconds: float

    def at(self, console: Console, name: str, **options: Any) -> int:
        """Load a policy and look at it; return the exit status."""
        if self.suite is None:
            console.print("Name a suite to look for the pitfalls of evaluations, too: --suite NAME.")
            return 0
        with load_policy(name, **options) as policy:
            return self.at_loaded(console, policy)

    def at_loaded(self, console: Console, policy: LocalPolicy) -> int:
        """Print a table of the pitfalls of a policy on the suite; return the exit status."""
        if self.suite is None:
            return 0
        config = RunConfig(
            suite=self.suite,
            tasks=self.tasks,
            simulator=self.simulator,
            slots=EPISODES,
            episodes=EPISODES,
            dtypes=("float32",),
        )
        with Evaluator(config, policy=policy) as evaluator, console.status("Looking for pitfalls"):
            evaluator.load_policy()
            try:
                simulator = evaluator.start_simulator()
            except UserError as error:
                console.print(f"Pitfalls cannot be looked for: {error}.", highlight=False, soft_wrap=True)
                return 0
            evaluator.rehearse([Variant(Precision())])
            evidence = Evidence(
                policy, evaluator.suite, simulator, evaluator.tasks, evaluator.open_loop_horizon
            )
            findings = look_for_pitfalls(evidence, self.seconds)
        console.print(_pitfalls(findings, self.suite))
        wrong = [finding for finding in findings if finding.status == FAILED]
        for finding in wrong:
            console.print(
                f"{PITFALLS[finding.pitfall].name}: {finding.text}.", highlight=False, soft_wrap=True
            )
        return 2 if wrong else 0


def _pitfalls(findings: Sequence[Finding], suite: str) -> Listing:
    """Return the table of the pitfalls; the addresses of the reports of damage are below it."""
    rows: list[list[str | Text]] = []
    addresses: dict[str, str] = {}
    for one in findings:
        pitfall = PITFALLS[one.pitfall]
        damage = "; ".join(f"{report.damage} [{report.source}]" for report in pitfall.reports)
        addresses |= {report.source: report.url for report in pitfall.reports}
        rows.append([pitfall.name, Text(one.status, STYLES[one.status]), one.text, one.change, damage])
    header = (
        "pitfall",
        "result",
        f"finding on {suite}",
        "what to change",
        "what it did to published numbers",
    )
    note = " ".join(f"[{source}]: {address}" for source, address in addresses.items())
    return Listing(header, rows, 5, note=note)


def _drawing(device: str) -> Check:
    """Check whether EGL can draw while this CUDA device computes; a run draws in software where it cannot."""
    name = "EGL, CUDA"
    outcome = egl_beside_cuda.try_it(device)
    if outcome.well is not False:
        return Check(name, SKIPPED if outcome.well is None else OK, outcome.text)
    return Check(
        name,
        WARNING,
        f"EGL beside CUDA {outcome.text}: a run's pictures are drawn in software (--render gpu: not)",
    )


def _examine_loaded(name: str, suite: Suite | None, look: _Look, **options: Any) -> int:
    """Load a policy that has no folder, print what it is, and compare it with a suite; return the exit status."""
    console = new_console()
    with load_policy(name, **options) as policy:
        facts = policy.describe()
        code = ", ".join(f"{file} {sha256[:12]}…" for file, sha256 in facts.get("code", {}).items())
        model = f"{facts['parameters']:,} parameters, {facts['dtype']} on {facts['device']}"
        slots = "one episode" if policy.max_slots == 1 else "any number of episodes"
        checks = [
            Check("code", OK, f"{facts['class']}{f' ({code})' if code else ''}"),
            Check("model", OK, model if policy.has_model else "none: it runs at --dtypes float32"),
            Check(
                "history",
                OK,
                "none: observations are reordered" if policy.stateless else f"{slots} at a time",
            ),
        ]
        console.print(check_table(checks))
        if not _compare(console, name, policy.declared, suite, policy.open_loop_horizon):
            return 2
        console.print("This policy can be loaded." if suite is None else "This policy can be evaluated.")
        return look.at_loaded(console, policy)


def _compare(console: Console, name: str, policy: Declared, suite: Suite | None, horizon: int) -> bool:
    """Print the comparison with a suite, and return whether both fit; True without a suite."""
    if suite is None:
        return True
    try:
        console.print(table(check(name, policy, suite, horizon), name, suite.name))
    except UserError as error:
        print(error.details)
        console.print(f"It does not fit: {error}.", highlight=False, soft_wrap=True)
        return False
    return True


def trained_prompt(folder: Path) -> str | None:
    """Return the longest instruction that a policy was trained on; None where its folder does not tell."""
    trained_on = read_trained_on(folder)
    if trained_on is None:
        return None
    try:
        tasks = find_tasks(find_suite(trained_on.suite).load_tasks(), trained_on.tasks)
    except UserError:  # of a suite or a task that is not known here
        return None
    return max((task.instruction for task in tasks), key=len)
