"""The documentation points at what exists."""

import re
import subprocess
import sys
import tomllib

import pytest
import torch
from paths import ROOT

import headless_eval
from headless_eval.contracts.robots import ROBOTS

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("headless_eval/policies/bundled/*/*.md")]
)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere_and_nothing_is_left_to_fill_in(page):
    text = page.read_text("utf-8")
    assert "@@" not in text
    targets = [target for target in _LINK.findall(text) if "://" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


_PATH = re.compile(r"`((?:headless_eval|tests|docs|scripts|benchmarks)/[\w./-]+)[`\s]")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_named_in_the_text_exist(page):
    missing = [path for path in _PATH.findall(page.read_text("utf-8")) if not (ROOT / path).exists()]
    assert not missing


def test_the_two_commands_are_on_the_first_screen_of_the_readme():
    first_screen = (ROOT / "README.md").read_text("utf-8").splitlines()[:15]
    assert any(line.startswith("scripts/run_headless.sh ") for line in first_screen)
    assert any(line.startswith("scripts/test.sh ") for line in first_screen)


EXAMPLES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("api", "quantization_methods", "statistics")),
]


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_examples_in_python_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where they leave their results
    observation = ROBOTS["droid"].example_observation()
    names = {"observation": observation, "observations": [observation] * 2}
    names |= {
        "model": torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.Linear(32, 8)),
        "inputs": torch.randn(4, 32),
    }
    names |= {"pairs": [(True, False)] * 9, "number_of_precisions": 3}
    examples = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), flags=re.M | re.S)
    assert examples
    for example in examples:
        exec(example, names)
    if policy := names.get("policy"):
        policy.close()


def test_the_scripts_help_names_every_variable_they_read():
    script = ROOT / "scripts" / "run_headless.sh"
    said = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    read = set(re.findall(r"^(?:one|many) --\S+ ([A-Z_]+)$", script.read_text(), flags=re.M))
    assert len(read) > 10
    assert all(variable in said for variable in read)


def test_the_script_of_the_figures_explains_itself():
    command = [sys.executable, ROOT / "docs" / "figures.py", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "scenes.png" in said


def test_the_site_shows_every_page():
    pages = {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}
    shown = set(re.findall(r"^ +- (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), flags=re.M))
    assert shown == pages


def test_the_reference_has_every_public_name():
    text = (ROOT / "docs/reference/python.md").read_text("utf-8")
    assert set(re.findall(r"^::: headless_eval\S*\.(\w+)$", text, flags=re.M)) == set(headless_eval.__all__)


def test_every_extra_is_explained():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    explained = re.findall(r"^\| (`.*?`) \|", (ROOT / "docs/start.md").read_text("utf-8"), flags=re.M)
    assert set(re.findall(r"`(\S+)`", " ".join(explained))) >= set(project["optional-dependencies"])
