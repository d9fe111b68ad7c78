"""Compatibility of a policy and a suite: a table of what both declare, and an error where they differ."""

from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.text import Text

from headless_eval.contracts.compatibility import Declared, Fit, compare
from headless_eval.contracts.robots import ROBOTS
from headless_eval.errors import UserError
from headless_eval.policies.registry import trained_policies
from headless_eval.shared.terminal import Listing
from headless_eval.sims.registry import Suite, find_suite

_WIDTH = 110
_FITS = {True: Text("ok", "green"), False: Text("DIFFERS", "bold red"), None: Text("not compared", "dim")}


def check(
    name: str, policy: Declared, suite: Suite, open_loop_horizon: int, control_hz: float | None = None
) -> list[Fit]:
    """Compare a policy with a suite, and return every property that was compared.

    Args:
        name: the policy's name.
        policy: what the policy declares.
        suite: the suite.
        open_loop_horizon: the number of actions of each chunk that the run executes.
        control_hz: the simulator's control steps per second; None: those of the suite's robot.

    Raises:
        UserError: a property differs; the error's details are the table, the message says what to do.
    """
    fits = compare(policy, ROBOTS.find(suite.robot), open_loop_horizon, control_hz)
    if all(fit.fits is not False for fit in fits):
        return fits
    error = UserError(_message(name, fits, suite, open_loop_horizon))
    text = StringIO()
    Console(file=text, width=_WIDTH).print(table(fits, name, suite.name))
    error.details = text.getvalue().rstrip()
    raise error


def table(fits: Sequence[Fit], policy: str, suite: str) -> Listing:
    """Return the table of a comparison."""
    rows: list[list[str | Text]] = [[fit.what, fit.policy, fit.suite, _FITS[fit.fits]] for fit in fits]
    return Listing(("", policy, f"--suite {suite}", "result"), rows, 4)


def _message(name: str, fits: Sequence[Fit], suite: Suite, open_loop_horizon: int) -> str:
    """Return the error of a mismatch in one line. Another robot explains all other differences."""
    wrong = {fit.what: fit for fit in fits if fit.fits is False}
    if "robot" in wrong:
        bundled = [
            f"--policy {policy}"
            for policy, trained_on in trained_policies().items()
            if find_suite(trained_on.suite).robot == suite.robot
        ]
        example = ROBOTS.find(suite.robot).example
        ways = [*bundled, f"--checkpoint DIR --config {example or 'NAME'}", "--policy zero"]
        return (
            f"the policy {name} is for the robot {wrong['robot'].policy}, the suite {suite.name} has {suite.robot}: "
            f"name one for it: {', or '.join(ways)}"
        )
    texts = []
    for what, fit in wrong.items():
        if what == "actions of a chunk":
            texts.append(
                f"--open-loop-horizon is {open_loop_horizon}, but the policy {name} gives {fit.policy} actions at a "
                "time; it can be no more"
            )
        else:
            texts.append(f"{what}: {fit.policy} for the policy {name}, {fit.suite} in the suite {suite.name}")
    return "; ".join(texts)
