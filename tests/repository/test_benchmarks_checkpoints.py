"""The benchmarks of checkpoints run whole at a small size, and their own conclusions hold."""

import json
import os
import subprocess
import sys

import pytest
from paths import ROOT

GOLDEN = ROOT / ".." / "shared" / "golden"


def _run(script, *arguments):
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "110"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_full_size_shapes_are_openpis():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from full_size import jax_shapes
    finally:
        sys.path.pop(0)
    from headless_eval.policies.pi0.config import CONFIGS

    for name, file in (("pi0_droid", "pi0"), ("pi05_droid", "pi05")):
        path = GOLDEN / "full_size" / f"{file}_jax_params.json"
        if not path.is_file():
            pytest.skip(f"no golden data at {path}")
        expected = {key: tuple(shape) for key, (shape, _) in json.loads(path.read_text()).items()}
        assert jax_shapes(CONFIGS[name].model) == expected


@pytest.mark.slow
@pytest.mark.parametrize("config", ["pi05_droid_jointpos_polaris", "pi0_droid_jointpos_polaris"])
def test_full_size_at_a_small_size(config, tmp_path):
    pytest.importorskip("tensorstore")
    episodes = 1 if config.startswith("pi05") else 0
    _run(
        "full_size.py", "--size", "golden", "--config", config, "--episodes", episodes,
        "--dir", tmp_path, "--json", tmp_path / "figures.json",
    )  # fmt: skip
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["same_weights"]
    assert found["quantize"]["restored"]
    assert len(found["quantize"]["dtypes"]) == 9
    assert all(
        found[f"infer {dtype} x{batch}"]["finite"] for dtype in ("float32", "bfloat16") for batch in (1, 8)
    )
    if episodes:
        assert found["episodes"]["status"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_broken_checkpoints():
    case = GOLDEN / "openpi_pytorch" / "pi05_droid"
    if not case.is_dir():
        pytest.skip(f"no golden data at {case}")
    said = _run(
        "broken_checkpoints.py", case / "checkpoint", "--config-file", case / "meta.json",
        "--tokenizer", GOLDEN / "tokenizer.model",
    )  # fmt: skip
    assert said.count("FAILED") == 5
    assert said.count("This checkpoint can be evaluated.") == 1
