"""The command ``list``: policies, configurations of checkpoints, suites, dtypes and modes."""

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from headless_eval.config.catalogue import ListConfig
from headless_eval.contracts.robots import ROBOTS
from headless_eval.policies.registry import about_policy, list_configs, list_policies, trained_policies
from headless_eval.quant.dtypes import DTYPES
from headless_eval.quant.methods import METHODS
from headless_eval.quant.precision import MODES
from headless_eval.shared.terminal import Listing, new_console
from headless_eval.sims.registry import SUITES, Suite, find_suite

_SHOWN = 10  # tasks of a suite that are shown without --suite


def catalogue() -> dict[str, Any]:
    """Return policies, configurations of checkpoints, suites with their tasks, dtypes and modes."""
    return {
        "policies": list_policies(),
        "trained_on": {name: asdict(trained_on) for name, trained_on in trained_policies().items()},
        "configs": list_configs(),
        "robots": {name: robot.summary for name, robot in ROBOTS.items()},
        "suites": {suite.name: _describe(suite) for _, suite in SUITES.items()},
        "dtypes": list(DTYPES),
        "methods": {kind: method.spelling() for kind, method in METHODS.items()},
        "modes": list(MODES),
    }


def print_catalogue(settings: ListConfig) -> int:
    """Print the catalogue, or only one suite with all its tasks; return the exit status, 0.

    Raises:
        UserError: the suite does not exist.
    """
    there, only = catalogue(), settings.suite
    if only is not None:
        there = {"suites": {only: _describe(find_suite(only))}}
    if settings.json:
        print(json.dumps(there, indent=2))
        return 0
    console = new_console()
    if only is None:
        _print_names(console, there)
    for name, suite in there["suites"].items():
        console.print(Text.assemble((f"--suite {name}", "bold"), f"  {suite['summary']}"))
        number = len(suite["tasks"])
        if only is None and number > _SHOWN:
            console.print(f"\n  {number} tasks: headless-eval list --suite {name}\n", highlight=False)
        else:
            _print_tasks(console, suite["tasks"])
        console.print(f"--sim {', '.join(suite['simulators'])}", highlight=False)
    return 0


def _describe(suite: Suite) -> dict[str, Any]:
    tasks = [
        {"id": task.id, "key": task.key, "instruction": task.instruction, "max_steps": task.max_steps}
        | ({"difficulty": asdict(task.difficulty)} if task.difficulty else {})
        for task in suite.load_tasks()
    ]
    return {"summary": suite.summary, "simulators": list(suite.simulators), "tasks": tasks}


def _print_names(console: Console, there: dict[str, Any]) -> None:
    trained = trained_policies()
    policies = [
        [name, trained[name].flags if name in trained else about_policy(name)] for name in there["policies"]
    ]
    console.print(Listing(("--policy", "for"), policies, 2))
    names = [
        ["robots", "--robot", ", ".join(there["robots"])],
        ["configurations", "--config", ", ".join(there["configs"])],
        ["data types", "--dtypes", ", ".join(there["dtypes"])],
        *(["methods", "--dtypes", spelling] for spelling in there["methods"].values()),
        ["modes", "--modes", ", ".join(there["modes"])],
    ]
    console.print(Listing(("what", "flag", "names"), names, 3))


def _print_tasks(console: Console, tasks: list[dict[str, Any]]) -> None:
    rows = [[str(task["id"]), task["key"], task["instruction"], str(task["max_steps"])] for task in tasks]
    console.print(Listing(("--tasks", "or", "instruction", "steps at most"), rows, 3))
