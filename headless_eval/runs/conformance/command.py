"""The command ``check-plugin``: finds out what a thing is, tests it, and prints a table."""

import inspect
from collections.abc import Iterator
from typing import Any

from headless_eval.config.conformance import CheckPluginConfig
from headless_eval.contracts.robots import ROBOTS, Robot
from headless_eval.errors import UserError
from headless_eval.local_policy import load_policy
from headless_eval.policies.checks import FAILED, Check
from headless_eval.policies.device import check_device
from headless_eval.policies.registry import list_policies
from headless_eval.quant.methods import METHODS, Method
from headless_eval.runs.check_table import check_table
from headless_eval.runs.conformance.method import examine_method
from headless_eval.runs.conformance.policy import examine_policy
from headless_eval.runs.conformance.robot import examine_robot
from headless_eval.runs.conformance.suite import examine_suite
from headless_eval.shared import places
from headless_eval.shared.suggest import unknown
from headless_eval.shared.terminal import new_console
from headless_eval.sims.registry import SUITES, Suite, find_suite


def check_plugin(settings: CheckPluginConfig) -> int:
    """Test a policy, a suite, a robot or a method, and print the results.

    Returns:
        The exit status: 0 everything holds, 1 something does not.

    Raises:
        UserError: the thing does not exist, is neither a policy, a suite, a robot nor a method, or cannot be loaded.
    """
    check_device(settings.device)
    thing = places.load(settings.thing, "plugin") if places.is_place(settings.thing) else None
    kind = settings.kind or (_kind_of_name(settings.thing) if thing is None else _kind_of(thing))
    if kind != "policy" and (settings.policy_args or settings.suite):
        raise UserError(
            f"--policy-args and --suite are for policies, and {settings.thing} is a {kind}: leave them out"
        )
    console = new_console()
    console.print(f"{kind} {settings.thing}", highlight=False)
    checks = list(_examine(kind, thing, settings))
    console.print(check_table(checks, "test"))
    failures = sum(one.status == FAILED for one in checks)
    if failures:
        console.print(f"{failures} of {len(checks)} tests failed.")
        return 1
    console.print(f"This {kind} can be evaluated." if kind != "method" else "This method can be used.")
    return 0


def _examine(kind: str, thing: Any, settings: CheckPluginConfig) -> Iterator[Check]:
    if kind == "policy":
        suite = None if settings.suite is None else find_suite(settings.suite)
        options: dict[str, Any] = {"device": settings.device, "policy_args": settings.policy_args}
        return examine_policy(lambda: load_policy(settings.thing, **options), suite)
    if kind == "suite":
        return examine_suite(find_suite(settings.thing))
    if kind == "robot":
        robot = ROBOTS.find(settings.thing) if thing is None else thing
        if not isinstance(robot, Robot):
            raise UserError(f"{settings.thing} is {type(robot).__name__}: a robot is a headless_eval.Robot")
        return examine_robot(robot)
    if isinstance(thing, type) and issubclass(thing, Method):
        if thing.kind not in METHODS:
            METHODS.add(thing.kind, thing)
        return examine_method(_example(METHODS[thing.kind]))
    return examine_method(_example(METHODS[settings.thing]) if settings.thing in METHODS else settings.thing)


def _example(method: type[Method]) -> str:
    """Return a name of a method to test it by."""
    return method.examples[0] if method.examples else f"{method.kind}_w8a8"


def _kind_of(thing: Any) -> str:
    """Return what an object is: a function is a policy's unless it returns a suite, or its argument is a model."""
    if isinstance(thing, Robot):
        return "robot"
    if isinstance(thing, Suite):
        return "suite"
    if isinstance(thing, type):
        return "method" if issubclass(thing, Method) else "policy"
    if not callable(thing) or hasattr(thing, "infer"):
        return "policy"
    signature = inspect.signature(thing)
    first = next(iter(signature.parameters), "")
    if "Suite" in str(signature.return_annotation):
        return "suite"
    return "method" if first in ("model", "module") else "policy"


def _kind_of_name(name: str) -> str:
    if name in SUITES:
        return "suite"
    if name in ROBOTS:
        return "robot"
    if name in METHODS or name.partition("_")[0] in METHODS:
        return "method"
    known = [*list_policies(), *SUITES, *ROBOTS, *METHODS]
    if name not in known:
        raise unknown("plugin", name, known)
    return "policy"
