"""The command ``doctor``: checks a checkpoint before an evaluation, and says what to do about what failed."""

from pathlib import Path

from rich.text import Text

from headless_eval.errors import UserError
from headless_eval.policies.baselines import BASELINES
from headless_eval.policies.checks import FAILED, OK, SKIPPED, WARNING
from headless_eval.policies.device import check_device
from headless_eval.policies.registry import find_family, find_policy
from headless_eval.policies.trained_on import read_trained_on
from headless_eval.shared.terminal import Listing, new_console
from headless_eval.sims.registry import find_suite, find_tasks

_STYLES = {OK: "green", WARNING: "yellow", FAILED: "bold red", SKIPPED: "dim"}


def doctor(
    policy: str,
    checkpoint: str | Path | None,
    config: str | None,
    config_file: Path | None,
    tokenizer: Path | None,
    device: str,
    dtype: str,
    robot: str | None = None,
) -> int:
    """Print a table of all checks.

    Returns:
        The exit status: 0 nothing failed, 2 something did.

    Raises:
        UserError: the folder, configuration or device does not exist, or the policy's family has no checks.
    """
    check_device(device)
    if checkpoint is None and policy in BASELINES:
        raise UserError(f"the policy {policy!r} has no checkpoint: there is nothing to check")
    folder, name = find_policy(policy, checkpoint)
    family = find_family(folder, config, config_file)
    settings = family.read_config(folder, config, config_file, robot)
    examine = getattr(family, "examine", None)
    if examine is None:
        raise UserError(f"no checks are known for a policy such as {name}")
    console = new_console()
    console.print(f"{name} as {settings.name}, {dtype} on {device}", highlight=False)
    rows: list[list[str | Text]] = []
    statuses = []
    for check in examine(folder, settings, tokenizer, device, dtype, trained_prompt(folder)):
        statuses.append(check.status)
        rows.append([check.name, Text(check.status, _STYLES[check.status]), check.text])
    console.print(Listing(("check", "result", "finding"), rows, 3))
    failures, warnings = statuses.count(FAILED), statuses.count(WARNING)
    if failures:
        console.print(f"{failures} of {len(statuses)} checks failed: this checkpoint cannot be evaluated so.")
        return 2
    console.print("This checkpoint can be evaluated" + (f"; warnings: {warnings}." if warnings else "."))
    return 0


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
