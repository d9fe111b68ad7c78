"""Tests mirror the package: a module of some length has a test file of its name at the same place."""

import ast
import io
import tokenize
from functools import cache
from pathlib import Path

from paths import ROOT

PACKAGE, TESTS = ROOT / "headless_eval", ROOT / "tests"
LINES = 80
"""Lines of code, without docstrings, comments and blank lines, up to which a module needs no file of its own."""

ELSEWHERE = {
    "checkpoints/stored.py": "read through the formats: tests/policies/pi0/formats",
    "export/lerobot_dataset.py": "both layouts: tests/export/test_lerobot.py, tests/export/test_lerobot_v30.py",
    "performance/measured_model.py": "loaded by every command: tests/performance",
    "performance/profile/measure.py": "its figures are those of the command: tests/performance/profile/test_command.py",
    "performance/sensitivity/measure.py": "the same: tests/performance/sensitivity/test_command.py",
    "policies/open_pi_zero/": "compared with the original: tests/policies/open_pi_zero/test_golden.py",
    "policies/paligemma/": "compared with the original: tests/policies/paligemma/test_golden.py",
    "policies/pi0/engine/": "every engine is compared with the eager model: test_engine.py in each engine's folder",
    "policies/pi0/family.py": "used by every load: tests/policies/test_registry.py",
    "quant/methods/duquant.py": "tested with the other methods: tests/quant/test_methods.py",
    "report/compare_show.py": "prints the comparison: tests/report/test_compare.py",
    "report/page/drawings.py": "shown by the page and by the plots: tests/report/page/test_page.py",
    "report/page/sections.py": "the same: tests/report/page/test_page.py",
    "report/robustness_tables.py": "writes what is computed: tests/report/test_robustness.py",
    "runs/evaluator.py": "opened by every run: tests/runs/test_run.py",
    "sims/droid/isaaclab/": "needs Isaac Lab: tests/sims/droid/isaaclab/test_simulator.py runs the whole",
    "sims/libero/environment.py": "needs LIBERO: tests/sims/libero/test_simulator.py compares it with the package's",
    "sims/simpler/": "needs SAPIEN: tests/sims/simpler/test_simpler.py runs the whole",
    "training/expert.py": "solves every scene: tests/sims/droid/mujoco/test_simulator.py",
    "training/libero_demonstrations.py": "needs LIBERO: tests/sims/libero/test_simulator.py",
    "training/libero_expert.py": "needs LIBERO: tests/sims/libero/test_simulator.py",
    "training/simpler_demonstrations.py": "needs SAPIEN: tests/sims/simpler/test_simpler.py",
    "training/simpler_expert.py": "needs SAPIEN: tests/sims/simpler/test_simpler.py",
}
"""Modules, and folders of modules, that are tested in another file, and why."""


def lines_of_code(path: Path) -> int:
    text = path.read_text("utf-8")
    no_code = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in (*no_code, tokenize.ENDMARKER):
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_files(path: Path) -> list[Path]:
    """Return where the tests of a module may be; those of a package beside or in its folder."""
    place = TESTS / path.relative_to(PACKAGE).parent
    if path.name == "__init__.py":
        return [place.parent / f"test_{place.name}.py", place / f"test_{place.name}.py"]
    return [place / f"test_{path.name}"]


test_files.__test__ = False  # not a test itself


@cache
def long_modules() -> list[str]:
    """Return the long modules without a test file of their name."""
    found = [path for path in sorted(PACKAGE.rglob("*.py")) if lines_of_code(path) > LINES]
    return [str(path.relative_to(PACKAGE)) for path in found if not any(map(Path.is_file, test_files(path)))]


def excused(module: str) -> bool:
    return any(module == name or (name.endswith("/") and module.startswith(name)) for name in ELSEWHERE)


def test_every_long_module_has_a_test_file_of_its_name():
    assert [module for module in long_modules() if not excused(module)] == []


def test_exceptions_are_needed_and_name_tests_that_exist():
    for name, reason in ELSEWHERE.items():
        assert any(excused(module) and module.startswith(name) for module in long_modules()), name
        for word in reason.replace(",", " ").split():
            if word.startswith("tests/"):
                assert (ROOT / word).exists(), word
