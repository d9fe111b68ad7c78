"""The wheel: it holds all that the package reads at run time, and runs without the repository."""

import glob
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path
from shutil import copytree

import pytest
from paths import ROOT

from headless_eval.results import RunDirectory

PACKAGE = ROOT / "headless_eval"
OPTIONAL = (
    *(
        "fsspec",
        "gymnasium",
        "huggingface_hub",
        "jax",
        "pyarrow",
        "rerun",
        "selenium",
        "tensorboard",
        "tensorstore",
    ),
    *("torchao", "websockets", "zstandard"),
)
"""Modules of extras."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_file_of_the_package_goes_into_the_wheel():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["headless_eval"]
    taken = {Path(found) for one in patterns for found in glob.glob(one, root_dir=PACKAGE, recursive=True)}
    files = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.is_file()}
    data = {path for path in files if path.suffix != ".py" and "__pycache__" not in path.parts}
    assert len(data) > 20
    assert data - taken == set()
    code = {path.parent for path in files if path.suffix == ".py"}
    assert {folder for folder in code if not (PACKAGE / folder / "__init__.py").is_file()} == set()


@pytest.mark.slow
def test_the_wheel_evaluates_without_the_repository(tmp_path):
    source = tmp_path / "source"
    copytree(PACKAGE, source / "headless_eval", ignore=lambda *_: ["__pycache__"])
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pip = [sys.executable, "-m", "pip"]
    wheel = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(wheel, env=variables, check=True)
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    (packages,) = environment.glob("lib/python*/site-packages")
    (built,) = tmp_path.glob("*.whl")
    python = environment / "bin/python"
    install = [*pip, "--python", python, "install", "-q", "--no-deps", "--no-index", built]
    subprocess.run(install, env=variables, check=True)
    # The dependencies are those of this environment, without what comes with extras. A path file does not run the path
    # files that lie there, so that the repository is not found.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    hide = f"import sys\nsys.modules.update(dict.fromkeys({OPTIONAL}))\n"  # None: cannot be imported
    (packages / "sitecustomize.py").write_text(hide)
    (work := tmp_path / "work").mkdir()
    settings = "--tasks 1 --episodes 1 --dtypes float32 --videos none --results mine"
    said = subprocess.run(
        [environment / "bin/headless-eval", "run", *settings.split()],
        cwd=work,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    run = RunDirectory.open(work / "mine")
    assert [record.status for record in run.records()] == ["success"]
    assert (work / "mine" / "report.html").is_file()
    shown = subprocess.run(
        [python, "-c", "import headless_eval; print(headless_eval.__file__)"],
        cwd=work,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(shown.stdout.strip()).is_relative_to(packages)
