"""The command ``doctor``: checks a policy before an evaluation, and says what to do about what failed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from headless_eval.contracts.compatibility import Declared
from headless_eval.errors import UserError
from headless_eval.local_policy import load_policy
from headless_eval.policies.adapter import declared_of
from headless_eval.policies.baselines import BASELINES
from headless_eval.policies.checks import FAILED, OK, WARNING, Check
from headless_eval.policies.device import check_device
from headless_eval.policies.registry import find_claimant, find_family, find_policy
from headless_eval.policies.trained_on import read_trained_on
from headless_eval.runs.check_table import check_table
from headless_eval.runs.compatibility import check, table
from headless_eval.shared.terminal import new_console
from headless_eval.sims.registry import Suite, find_suite, find_tasks


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
) -> int:
    """Print a table of all checks, and, with a suite, a table of what policy and suite declare.

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
        return _examine_loaded(policy, compared, device=device, robot=robot, policy_args=tuple(policy_args))
    folder, name = find_policy(policy, checkpoint)
    family = find_family(folder, config, config_file)
    settings = family.read_config(folder, config, config_file, robot)
    examine = getattr(family, "examine", None)
    if examine is None:
        raise UserError(f"no checks are known for a policy such as {name}")
    console = new_console()
    console.print(f"{name} as {settings.name}, {dtype} on {device}", highlight=False)
    checks = list(examine(folder, settings, tokenizer, device, dtype, trained_prompt(folder)))
    console.print(check_table(checks))
    horizon = getattr(settings, "open_loop_horizon", None) or settings.robot.open_loop_horizon
    fits = _compare(console, name, declared_of(settings.robot, settings), compared, horizon)
    failures, warnings = (sum(one.status == status for one in checks) for status in (FAILED, WARNING))
    if failures:
        console.print(f"{failures} of {len(checks)} checks failed: this checkpoint cannot be evaluated so.")
    elif fits:
        console.print("This checkpoint can be evaluated" + (f"; warnings: {warnings}." if warnings else "."))
    return 0 if fits and not failures else 2


def _examine_loaded(name: str, suite: Suite | None, **options: Any) -> int:
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
        fits = _compare(console, name, policy.declared, suite, policy.open_loop_horizon)
    if fits:
        console.print("This policy can be loaded." if suite is None else "This policy can be evaluated.")
    return 0 if fits else 2


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
