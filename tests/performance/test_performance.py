"""bench, profile and sensitivity: run whole on small models, their figures checked against each other and torch's."""

import csv
import gzip
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from headless_eval.cli.main import main
from headless_eval.performance.components import COMPONENTS, component_of, layer_of
from headless_eval.performance.costs import STEP, Speeds, limit_of
from headless_eval.performance.profile import kernel_trace
from headless_eval.performance.source import costs_of, random_model
from headless_eval.performance.workload import Workload, random_inputs
from headless_eval.policies.paligemma.config import GemmaConfig, SiglipConfig
from headless_eval.policies.pi0.config import CONFIGS, PolicyConfig, write_config

CPU = torch.device("cpu")


def tiny(pi05: bool) -> PolicyConfig:
    config = CONFIGS["pi05_droid" if pi05 else "pi0_droid"]
    gemma = GemmaConfig(width=64, depth=2, mlp_dim=96, num_heads=4, num_kv_heads=1, head_dim=16)
    siglip = SiglipConfig(width=48, depth=2, mlp_dim=80, num_heads=2, patch_size=14, image_size=56)
    sizes = {"gemma": gemma, "expert": replace(gemma, width=32), "siglip": siglip, "vocab_size": 512}
    return replace(config, model=replace(config.model, num_steps=3, max_token_len=24, **sizes))


@pytest.fixture(scope="module")
def random_flags(tmp_path_factory):
    """The flags of a model so small that everything takes a moment."""
    path = tmp_path_factory.mktemp("configs") / "tiny.toml"
    write_config(path, tiny(pi05=True))
    return ["--config-file", str(path), "--random-weights"]


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# What is counted


@pytest.mark.parametrize("pi05", [False, True])
@pytest.mark.parametrize("workload", [Workload(1, 2, 16), Workload(3, 1, 5), Workload(2, 0, 24)], ids=str)
def test_operations_are_those_that_torch_counts_module_by_module(pi05, workload):
    config = tiny(pi05)
    model = random_model(config, CPU, torch.float32)
    inputs = random_inputs(config.model, workload).arguments(CPU)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.sample_actions(*inputs)
    steps = config.model.num_steps
    costs = {
        cost.module: cost.flops * (steps if cost.part == STEP else 1)
        for cost in costs_of(config.model, workload)
    }
    assert sum(costs.values()) == counter.get_total_flops()
    assert len(costs) == len(costs_of(config.model, workload))
    # torch names modules after their root's class, which here are the parts that are called.
    theirs = {name: sum(of.values()) for name, of in counter.get_flop_counts().items()}
    for ours, root in (("vision", "Siglip"), ("language", "LanguageModel"), ("expert", "ActionExpert")):
        inside = sum(
            flops for name, flops in costs.items() if name.startswith(f"{ours}.") and "norm" not in name
        )
        if root in theirs:
            assert inside == theirs[root]


def test_full_size_counts_and_limits_are_those_known():
    sizes = CONFIGS["pi05_droid"].model
    costs = costs_of(sizes, Workload(1, 2, 64))
    of_step = [cost for cost in costs if cost.part == STEP]
    assert 2.5e12 < sum(cost.flops for cost in costs if cost.part == "prefix") < 2.7e12
    assert 0.6e9 < 2 * sum(cost.weights for cost in of_step) < 0.63e9
    limit = limit_of(costs, Speeds(780e12, 4.2e12), 10, 2, 2)
    assert limit.total_ms == pytest.approx(limit.prefix_ms + 10 * limit.step_ms)
    assert 3.3 < limit.prefix_ms < 3.9
    assert 0.14 < limit.step_ms < 0.16


def test_every_module_is_in_one_component():
    import re

    for pi05 in (False, True):
        model = random_model(tiny(pi05), CPU, torch.float32)
        leaves = [name for name, module in model.named_modules() if name and not list(module.children())]
        assert all(component_of(name) != "other" for name in leaves)
        for name in leaves:
            assert sum(bool(re.search(of.pattern, name)) for of in COMPONENTS) == 1
    assert layer_of("expert.layers.11.mlp.up_proj") == 11
    assert layer_of("image_projector") is None
    (attention,) = (of for of in COMPONENTS if of.name == "expert attention")
    assert re.search(attention.layer_pattern(1), "expert.layers.1.self_attn.q_proj")
    assert not re.search(attention.layer_pattern(1), "expert.layers.11.self_attn.q_proj")


def test_random_weights_are_the_same_in_every_type_and_give_actions_that_depend_on_everything():
    config = tiny(pi05=True)
    model, half = (random_model(config, CPU, dtype) for dtype in (torch.float32, torch.bfloat16))
    for one, other in zip(model.parameters(), half.parameters(), strict=True):
        assert torch.equal(one.to(torch.bfloat16), other)
    inputs = random_inputs(config.model, Workload(2, 2, 16))
    first = random_inputs(config.model, Workload(1, 2, 16))
    assert np.array_equal(inputs.rows(0, 1).noise, first.noise)
    assert np.array_equal(inputs.images[1][:1], first.images[1])
    given = inputs.arguments(CPU)
    actions = model.sample_actions(*given)
    dark = model.sample_actions(*given._replace(images=[0 * image for image in given.images]))
    assert (actions - dark).abs().max() > 1e-3


# bench


def test_bench_measures_every_combination_and_adds_to_its_table(random_flags, tmp_path, capsys):
    folder = tmp_path / "bench"
    flags = ["bench", *random_flags, "--results", str(folder), "--repeats", "3", "--engines", "eager"]
    dtypes = ["--dtypes", "float32", "bfloat16", "float8_e4m3", "--modes", "weights_only", "both"]
    assert main([*flags, *dtypes, "--batch", "1", "2", "--views", "1"]) == 0
    found = rows(folder / "bench.csv")
    assert len(found) == 5 * 2
    assert {row["status"] for row in found} == {"ok"}
    for row in found:
        assert float(row["p5_ms"]) <= float(row["median_ms"]) <= float(row["p95_ms"])
        assert float(row["chunks_per_s"]) == pytest.approx(
            1e3 * int(row["batch"]) / float(row["median_ms"]), rel=1e-4
        )
        assert float(row["limit_ms"]) < float(row["median_ms"])
        assert int(row["weights_bytes"]) > 0
        assert int(row["peak_bytes"]) > 0
    errors = {(row["precision"], row["batch"]): float(row["error"]) for row in found}
    assert errors["float32", "1"] == 0
    assert 0 <= errors["float32", "2"] < 1e-5
    for mode in ("weights_only", "both"):
        assert 1e-5 < errors[f"bfloat16_{mode}", "1"] < errors[f"float8_e4m3_{mode}", "1"]

    more = ["--append", "--dtypes", "int8", "--executions", "native", "--modes", "both"]
    assert main([*flags, *more]) == 0
    again = rows(folder / "bench.csv")
    assert again[: len(found)] == found
    assert [row["median_ms"] for row in again[len(found) :]] == [""]
    assert "native" in again[-1]["status"]
    content = json.loads((folder / "bench.json").read_text("utf-8"))
    assert set(content["chip"]["matrix_flops"]) == {"float32"}
    assert content["chip"]["copy_bytes_per_s"] > 1e8
    assert (folder / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "bench.md").read_text("utf-8").count("\n| ") == 2 + len(again)
    assert str(folder) in capsys.readouterr().out


def test_what_memory_does_not_do_for_is_a_row_and_the_rest_goes_on(random_flags, tmp_path, monkeypatch):
    from headless_eval.performance.bench import measure as bench

    draw = bench.random_inputs

    def full(config, workload, *rest):
        if workload.batch == 7:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if workload.batch == 5:
            raise RuntimeError("an illegal access")
        return draw(config, workload, *rest)

    monkeypatch.setattr(bench, "random_inputs", full)
    flags = ["--dtypes", "float32", "--engines", "eager", "--repeats", "2", "--batch", "7", "5", "2"]
    assert main(["bench", *random_flags, *flags, "--results", str(tmp_path / "b")]) == 1
    seven, five, two = rows(tmp_path / "b" / "bench.csv")
    assert seven["status"] == "out of memory"
    assert five["status"].startswith("failed: RuntimeError: an illegal access")
    assert two["status"] == "ok"


# profile


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


def test_watching_a_model_leaves_no_trace_on_it():
    from headless_eval.performance.profile.host_clock import HostClock
    from headless_eval.performance.spans import watched

    config = tiny(pi05=True)
    model = random_model(config, CPU, torch.float32)
    given = random_inputs(config.model, Workload(1, 1, 8)).arguments(CPU)
    before = model.sample_actions(*given)
    clock = HostClock()
    with watched(model, clock):
        during = model.sample_actions(*given)
    called = len(clock.times)
    after = model.sample_actions(*given)
    assert torch.equal(before, during)
    assert torch.equal(before, after)
    assert called == len(clock.times)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert "velocity" not in vars(model)


def test_kernels_belong_to_the_range_that_launched_them(tmp_path):
    def event(cat, name, ts, dur, tid, **args):
        return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "tid": tid, "args": args}

    events = [
        event("user_annotation", "outer", 0, 100, 1),
        event("user_annotation", "inner", 10, 20, 1),
        event("user_annotation", "elsewhere", 0, 100, 2),
        event("cuda_runtime", "cudaLaunchKernel", 15, 1, 1, correlation=1),
        event("cuda_runtime", "cudaGraphLaunch", 50, 1, 1, correlation=2),
        event("cuda_runtime", "cudaLaunchKernel", 150, 1, 1, correlation=3),
        event("kernel", "nvjet_tst_128", 200, 30, 7, correlation=1),
        event("kernel", "flash_fwd", 230, 20, 7, correlation=2),
        event("kernel", "_norm", 240, 20, 7, correlation=2),  # begins by waiting for the one before
        event("gpu_memcpy", "Memcpy HtoD", 300, 5, 7, correlation=3),
        {"ph": "M", "name": "process_name"},
    ]
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"traceEvents": events}), "utf-8")
    found = [(work.name, work.within, work.kind, work.ms) for work in kernel_trace.read(path)]
    assert found == [
        ("nvjet_tst_128", "inner", "matrix products", 0.03),
        ("flash_fwd", "outer", "attention", 0.02),
        ("_norm", "outer", "norms", 0.01),
        ("Memcpy HtoD", "", "copies", 0.005),
    ]


# sensitivity


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


# Mistakes

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


def test_what_was_measured_is_kept_when_bench_is_interrupted(random_flags, tmp_path, monkeypatch):
    from headless_eval.performance.bench import measure as bench

    repeat = bench.Bench._repeat

    def interrupted(self, ready):
        yield from repeat(self, ready)
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.Bench, "_repeat", interrupted)
    flags = ["--dtypes", "float32", "--engines", "eager", "--repeats", "2", "--results", str(tmp_path / "b")]
    assert main(["bench", *random_flags, *flags]) == 130
    (row,) = rows(tmp_path / "b" / "bench.csv")
    assert row["status"] == "ok"


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
