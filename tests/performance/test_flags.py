"""Mistakes in the flags of bench, profile and sensitivity, and their help."""

import subprocess
import sys

import pytest
import torch

from headless_eval.cli.main import main

MISTAKES = {
    "unknown dtype": (["bench", "--dtypes", "float8"], "float8_e4m3"),
    "unknown compute": (["bench", "--compute", "float64"], "type to compute in"),
    "no dtypes": (["bench", "--dtypes"], "dtype"),
    "unknown mode": (["bench", "--modes", "weights"], "weights_only"),
    "unknown engine": (["bench", "--engines", "fusd"], "did you mean fused"),
    "unknown execution": (["bench", "--executions", "nativ"], "did you mean native"),
    "no batch": (["bench", "--batch", "0"], "1 or more"),
    "no GPU": (["bench", "--gpu", "99"], "no device"),
    "no weights": (["bench", "--config", "pi05_droid"], "--random-weights"),
    "both": (["bench", "--checkpoint", ".", "--random-weights"], "choose one"),
    "no model": (["bench", "--policy", "zero"], "nothing"),
    "long prompt": (["bench", "--prompt-tokens", "999"], "slots"),
    "append to nothing": (["bench", "--append"], "--results"),
    "nothing native": (["bench", "--executions", "native", "--dtypes", "int8"], "nothing could be measured"),
    "profile dtype": (["profile", "--dtype", "int9"], "dtype"),
    "profile compare": (["profile", "--compare", "int9_both"], "dtype"),
    "profile engine": (["profile", "--engine", "fused"], "fused"),
    "profile repeats": (["profile", "--repeats", "1"], "2 or more"),
    "only float32": (["sensitivity", "--dtypes", "float32"], "float32 alone"),
    "no tolerance": (["sensitivity", "--tolerance", "0"], "above 0"),
    "by what": (["sensitivity", "--by", "head"], "component"),
    "no observations": (["sensitivity", "--observations", "pyproject.toml"], "observations"),
    "no run": (["sensitivity", "--observations", "tests"], "run"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(name, capsys, tmp_path, monkeypatch):
    flags, word = MISTAKES[name]
    if "pyproject.toml" not in flags and "tests" not in flags and "." not in flags:
        monkeypatch.chdir(tmp_path)
    if flags[0] == "bench" and name == "no GPU" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    results = [] if name == "append to nothing" else ["--results", str(tmp_path / "r")]
    assert main([*flags, *results]) == 2
    said = capsys.readouterr()
    assert word in said.err
    assert said.err.count("\n") == 1


def test_help_teaches_and_loads_nothing_heavy():
    script = """
import sys
from headless_eval.cli.main import main
for command in ("bench", "profile", "sensitivity"):
    try:
        main([command, "--help"])
    except SystemExit as end:
        assert not end.code
heavy = {"torch", "mujoco", "matplotlib", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Examples:") == 3
    for word in ("--random-weights", "--compare", "--tolerance"):
        assert word in done.stdout
