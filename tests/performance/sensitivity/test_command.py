"""sensitivity, whole on the bundled policy."""

import json

import numpy as np
import pytest

from headless_eval.cli.main import main
from headless_eval.performance.components import COMPONENTS


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder of a sensitivity of the bundled policy, with few observations."""
    from droid_suite import short_tasks

    folder = tmp_path_factory.mktemp("sensitivity") / "whole"
    flags = ["--dtypes", "float8_e4m3", "--by", "component", "--number", "1", "--success", "1"]
    with pytest.MonkeyPatch.context() as patch:
        short_tasks(patch)
        flags += [
            "--tasks",
            "1",
            "--engine",
            "compiled",
            "--tolerance",
            "0.01",
            "--slots",
            "2",
            "--results",
            str(folder),
        ]
        assert main(["sensitivity", *flags]) == 0
    return folder


def test_sensitivity_ranks_components_and_advises(measured):
    content = json.loads((measured / "sensitivity.json").read_text("utf-8"))
    parts = content["parts"]
    errors = [part["error"] for part in parts if part["error"] is not None]
    assert errors == sorted(errors, reverse=True)
    by_name = {(part["precision"], part["component"]): part for part in parts}
    whole = by_name["float8_e4m3_both", "all"]
    assert whole["parameters"] == 1
    assert whole["error"] > 0.01
    single = [by_name["float8_e4m3_both", component.name] for component in COMPONENTS]
    assert sum(part["parameters"] for part in single) == pytest.approx(1)
    assert all(0 < part["error"] < 2 * whole["error"] for part in single)
    assert by_name["float32", "nothing"]["episodes"] == 1
    assert all(part["episodes"] == 1 for part in single)
    (advice,) = (note for note in content["notes"] if note.startswith("Advice"))
    assert "--dtypes float8_e4m3 --modes both" in advice
    assert "--exclude" in advice or "--include" in advice
    assert any(f"{component.name} (" in advice for component in COMPONENTS)
    assert "not on success" in content["notes"][-1]
    (combined,) = (part for part in parts if " + " in part["component"])
    assert combined["error"] <= 0.01 < whole["error"]
    assert combined["episodes"] == 1
    assert (measured / "sensitivity.png").stat().st_size > 10_000


def test_sensitivity_of_layers_on_the_same_observations_agrees(measured, tmp_path):
    folder = tmp_path / "layers"
    flags = ["--dtypes", "float8_e4m3", "--by", "layer", "--engine", "compiled", "--results", str(folder)]
    flags += ["--tolerance", "0.5", "--observations", str(measured / "observations.npz")]
    assert main(["sensitivity", *flags]) == 0
    parts = json.loads((folder / "sensitivity.json").read_text("utf-8"))["parts"]
    before = json.loads((measured / "sensitivity.json").read_text("utf-8"))["parts"]
    (whole,), (whole_before,) = ([one for one in of if one["component"] == "all"] for of in (parts, before))
    assert whole["error"] == whole_before["error"]
    layers = [one for one in parts if one["component"] == "expert MLP"]
    assert sorted(one["layer"] for one in layers) == list(range(6))
    assert all(0 < one["error"] < whole["error"] for one in layers)


def test_observations_come_from_a_run_too(tmp_path, droid_policy, short_episodes):
    run = tmp_path / "run"
    flags = [
        "--policy",
        droid_policy,
        "--dtypes",
        "float32",
        "--tasks",
        "1",
        "--episodes",
        "1",
        "--videos",
        "none",
    ]
    assert main(["run", *flags, "--results", str(run), "--quiet"]) == 0
    given = ["--policy", droid_policy, "--observations", str(run), "--by", "component", "--number", "2"]
    given += ["--dtypes", "bfloat16", "--tolerance", "0.5", "--engine", "compiled"]
    assert main(["sensitivity", *given, "--results", str(tmp_path / "s")]) == 0
    assert "all of the model may be rounded" in (tmp_path / "s" / "sensitivity.md").read_text("utf-8")
    with np.load(tmp_path / "s" / "observations.npz", allow_pickle=False) as kept:
        assert {name.partition("/")[0] for name in kept.files} == {"0", "1"}
        from headless_eval.contracts.seeding import TrialSeed

        noise = kept["1/noise"]
        seed = TrialSeed(7, 1, 0)
        assert any(np.array_equal(noise, seed.flow_noise(replan, noise.shape)) for replan in range(4))
