"""The floor plan of docs/architecture.md: rooms, the directions between them, and no circles."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from paths import ROOT

PACKAGE = ROOT / "headless_eval"
ROOMS = (
    "errors",
    "shared",
    "contracts",
    "quant",
    "checkpoints",
    "policies",
    "local_policy",
    "sims",
    "config",
    "results",
    "rollout",
    "loop",
    "report",
    "runs",
    "export",
    "performance",
    "training",
    "cli",
)
"""From low to high: a room imports itself and lower ones."""

STRANGERS = {
    "sims": {"quant", "checkpoints", "policies", "local_policy"},
    "quant": {"contracts.simulator", "contracts.policy"},
}
"""What a room does not know, although it is lower."""


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name without the package's."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports() -> dict[str, set[str]]:
    """Return what each module imports of the package when it runs, late imports included."""
    known = modules()
    return {name: set(_imported(ast.parse(path.read_text("utf-8")), known)) for name, path in known.items()}


def _imported(tree: ast.AST, known):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            yield from _imported(node, known)
            continue
        for name in names:
            inner = name.removeprefix("headless_eval.")
            if inner != name or name == "headless_eval":
                yield inner if inner in known else inner.rpartition(".")[0]


def room(module: str) -> str:
    return module.partition(".")[0]


def test_at_most_18_entries_lie_at_the_top():
    entries = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()} - {"__pycache__", "py.typed"}
    entries = {name for name in entries if not name.startswith("__")}
    assert len(entries) <= 18
    assert entries == set(ROOMS)
    assert (PACKAGE / "local_policy.py").is_file()
    assert (PACKAGE / "loop.py").is_file()
    assert (PACKAGE / "quant" / "__init__.py").is_file()


def test_no_room_imports_a_higher_one():
    floor = {name: index for index, name in enumerate(ROOMS)}
    upward = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if room(module) in floor and room(other) in floor and floor[room(other)] > floor[room(module)]
    ]
    assert not upward


def test_what_a_room_does_not_know():
    known = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if any(other == name or other.startswith(f"{name}.") for name in STRANGERS.get(room(module), ()))
    ]
    assert not known


@pytest.mark.parametrize(("parent", "mark"), [("policies", "family"), ("sims", "suites")])
def test_families_of_policies_and_of_simulators_do_not_know_each_other(parent, mark):
    families = [path.parent.name for path in (PACKAGE / parent).glob(f"*/{mark}.py")]
    assert len(families) > 1 or parent == "policies"
    places = {family: f"{parent}.{family}." for family in families}
    known = [
        f"{module} imports {other}"
        for family, place in places.items()
        for module, others in imports().items()
        if module.startswith(place)
        for other in others
        if any(f"{other}.".startswith(foreign) for name, foreign in places.items() if name != family)
    ]
    assert not known


def test_no_circles():
    graph = {
        name: {other for other in others if other != name and other not in ("", name.partition(".")[0])}
        for name, others in imports().items()
    }
    # A package's face imports its own modules, which is no circle of subjects.
    for name, others in graph.items():
        graph[name] = {other for other in others if not name.startswith(f"{other}.")}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("low", ["errors", "shared", "contracts"])
def test_the_lowest_rooms_use_numpy_at_most(low):
    heavy = {"torch", "mujoco", "scipy", "matplotlib"}
    for name, path in modules().items():
        if room(name) == low:
            tree = ast.parse(path.read_text("utf-8"))
            for node in ast.walk(tree):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                assert not {each.partition(".")[0] for each in names} & heavy, name
