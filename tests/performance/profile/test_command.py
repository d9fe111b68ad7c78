"""profile, whole on small models: its figures checked against each other."""

import gzip
import json

import pytest
from performance_cases import rows

from headless_eval.cli.main import main
from headless_eval.performance.components import COMPONENTS


def test_profile_adds_up_and_says_where_rounding_shows(random_flags, tmp_path, capsys):
    folder = tmp_path / "profile"
    flags = ["--dtype", "float8_e4m3", "--compare", "bfloat16_both", "--repeats", "5"]
    assert main(["profile", *random_flags, *flags, "--results", str(folder)]) == 0
    content = json.loads((folder / "profile.json").read_text("utf-8"))
    one, other = content["profiles"]
    assert one["name"] == "float8_e4m3_both"
    for of in (one, other):
        total = sum(row["ms"] + row["quantizer_ms"] for row in of["modules"] if row["ms"] is not None)
        assert total == pytest.approx(of["times"]["median"], rel=0.02) or total < of["times"]["median"]
        assert (
            total > 0.1 * of["times"]["median"]
        )  # a busy machine interrupts whole inferences, not single modules
        assert sum(of["parts"].values()) == pytest.approx(total)
        assert sum(part.startswith("flow step") for part in of["parts"]) == 3
        assert {row["component"] for row in of["components"]} >= {of.name for of in COMPONENTS}
    by_name = {row["module"]: row for row in one["modules"]}
    theirs = {row["module"]: row for row in other["modules"]}
    projection = "expert.layers.1.self_attn.q_proj"
    assert by_name[projection]["part"] == "flow step"
    assert by_name[projection]["quantizer_ms"] > 0
    assert by_name[projection]["flops"] == 3 * 2 * 15 * 32 * 64
    assert by_name[projection]["weight_error"] > theirs[projection]["weight_error"] > 1e-4
    assert by_name[projection]["activation_error"] > theirs[projection]["activation_error"] > 0
    assert one["error"][0] > other["error"][0] > 0
    with gzip.open(folder / "trace.json.gz", "rt") as file:
        names = {event.get("name") for event in json.load(file)["traceEvents"]}
    assert f"flow step 2 | {projection} | quantizer" in names
    assert len(rows(folder / "modules.csv")) == len(one["modules"])
    said = capsys.readouterr().out
    assert "modules that differ most" in said
    assert "quantizers" in said


def test_float32_has_no_error_and_no_quantizers(random_flags, tmp_path):
    assert main(["profile", *random_flags, "--repeats", "2", "--results", str(tmp_path / "p")]) == 0
    (one,) = json.loads((tmp_path / "p" / "profile.json").read_text("utf-8"))["profiles"]
    assert one["error"] == [0, 0]
    assert all(not row["activation_error"] and not row["weight_error"] for row in one["modules"])
    assert all(not row["quantizer_ms"] for row in one["modules"])


def test_the_engines_that_call_no_modules_are_profiled_too(tmp_path):
    flags = ["--engine", "compiled", "--repeats", "3", "--dtype", "int8", "--results", str(tmp_path / "p")]
    assert main(["profile", *flags]) == 0
    (one,) = json.loads((tmp_path / "p" / "profile.json").read_text("utf-8"))["profiles"]
    assert one["ran"] == "compiled"
    assert all(row["ms"] is None for row in one["modules"])
    assert sum(one["parts"].values()) == pytest.approx(one["times"]["median"])
    assert len(one["parts"]) == 1 + 10
    assert 0 < one["error"][0] < 0.1
    named = {row["component"]: row["ms"] for row in one["components"] if row["ms"] is not None}
    assert (
        named["unseen by the profiler"] + sum(row["ms"] for row in one["kernels"])
        >= 0.9 * one["times"]["median"]
    )
    assert (tmp_path / "p" / "kernels.csv").exists()


@pytest.mark.gpu
def test_on_a_gpu_kernels_add_up_to_no_more_than_an_inference(random_flags, tmp_path):
    folder = tmp_path / "bench"
    flags = ["--gpu", "0", *random_flags, "--repeats", "5"]
    dtypes = ["--compute", "float32", "bfloat16", "--dtypes", "float32", "int8"]
    assert main(["bench", *flags, *dtypes, "--engines", "eager", "compiled", "--results", str(folder)]) == 0
    found = rows(folder / "bench.csv")
    assert {row["status"] for row in found} == {"ok"}
    assert all(float(row["error"]) < 0.2 for row in found)
    for engine in ("eager", "compiled"):
        folder = tmp_path / engine
        assert main(["profile", *flags, "--engine", engine, "--dtype", "int8", "--results", str(folder)]) == 0
        (one,) = json.loads((folder / "profile.json").read_text("utf-8"))["profiles"]
        named = {row["component"]: row["ms"] for row in one["components"] if row["ms"] is not None}
        kernels = sum(row["ms"] for row in one["kernels"])
        modules = sum(row["ms"] + row["quantizer_ms"] for row in one["modules"] if row["ms"] is not None)
        assert 0 < kernels + modules < 1.5 * one["times"]["median"]
        assert "waiting between kernels" in named
        if engine == "eager":
            assert named["quantizers"] > 0
            assert named["expert MLP"] > 0
