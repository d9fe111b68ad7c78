"""Comparison of quantization methods with float32: success in simulation, and errors of layers and actions.

    python benchmarks/quantization_methods.py --gpu 0 --slots 32 --results results/methods
    python benchmarks/quantization_methods.py --episodes 2 --part plain              (a CPU, some minutes)

Two policies: the bundled policy, and the same function with outliers. Large models are hard to quantize because some
channels are about a hundred times as large as the others (SmoothQuant, section 3); small models have no such channels.
So the second policy is the first with 1 % of the channels between a norm (or a gated product) and the following linear
layers multiplied by ``--outliers``, and the weights of those layers divided by it: at float32 the function is the same.
This policy shows how methods handle outliers; it does not show how many outliers a real checkpoint has.

Every run's folder has its episodes. With the same --results, an interrupted benchmark continues where it stopped.
Prints Markdown; errors.csv and success.csv have the figures.
"""

import argparse
import csv
import math
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headless_eval import LocalPolicy, Precision, load_policy
from headless_eval.config.run import RunConfig
from headless_eval.policies.paligemma.gemma import GemmaLayer
from headless_eval.policies.paligemma.siglip import SiglipLayer
from headless_eval.policies.pi0.policy import save_checkpoint
from headless_eval.quant import Calibration, quantize_
from headless_eval.report import summarize_run
from headless_eval.results import RunDirectory
from headless_eval.rollout.recording import RecordedObservation
from headless_eval.runs.calibrate import calibrate, record_observations
from headless_eval.runs.run import run
from headless_eval.sims.registry import find_suite, find_tasks

SUITE = "droid"
SUCCESS = {
    "plain": (
        *("float32", "int4", "rtn_w4a8", "rtn_w4a4", "smoothquant_w8a8", "duquant_w4a8", "duquant_w4a4"),
        *("rtn_w3a3", "rtn_w3a3_g64_clip", "smoothquant_w3a3", "duquant_w3a3"),
    ),
    "outliers": (
        *("float32", "int4", "rtn_w4a8", "rtn_w4a4", "smoothquant_w8a8", "smoothquant_w4a4"),
        *("duquant_w4a8", "duquant_w4a4"),
    ),
}
ERRORS = (
    *(
        "rtn_w8a8",
        "smoothquant_w8a8",
        "duquant_w8a8",
        "rtn_w4a16",
        "rtn_w4a16_g64",
        "rtn_w4a8",
        "rtn_w4a8_clip",
    ),
    *("rtn_w4a8_g64", "smoothquant_w4a8", "duquant_w4a8", "duquant_w4a8_noperm", "duquant_w4a8_rowrot"),
    *("rtn_w4a4", "smoothquant_w4a4", "duquant_w4a4", "rtn_w3a8", "duquant_w3a8"),
    *("rtn_w3a3", "rtn_w3a3_g64_clip", "smoothquant_w3a3", "duquant_w3a3", "rtn_w2a8", "duquant_w2a8"),
)
_OBSERVATIONS = 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu", type=int, help="CUDA device (default: the CPU)")
    parser.add_argument("--slots", type=int, default=4, help="episodes at once")
    parser.add_argument("--episodes", type=int, default=100, help="episodes per scene and configuration")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--outliers", type=float, default=128.0, help="factor of the outlier channels")
    parser.add_argument("--part", choices=("plain", "outliers"), help="only this policy (default: both)")
    parser.add_argument("--only", choices=("success", "errors"), help="only this table (default: both)")
    parser.add_argument("--results", type=Path, default=Path("results/quantization_methods"))
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    for part in [arguments.part] if arguments.part else list(SUCCESS):
        with tempfile.TemporaryDirectory() as scratch:
            policy = "pi0-droid-tiny"
            if part == "outliers":
                policy = str(
                    _with_outliers(policy, Path(scratch) / "pi0-droid-tiny-outliers", arguments.outliers)
                )
            if arguments.only != "errors":
                _success(part, policy, arguments)
            if arguments.only != "success":
                _errors(part, policy, arguments)


# Success


def _success(part: str, policy: str, arguments: argparse.Namespace) -> None:
    folder = arguments.results / part
    settings: dict[str, Any] = {
        "dtypes": SUCCESS[part],
        "episodes": arguments.episodes,
        "seed": arguments.seed,
        "gpu": arguments.gpu,
        "slots": arguments.slots,
        "policy": policy,
        "videos": "none",
    }
    place = "resume" if (folder / "manifest.json").is_file() else "results"
    if run(RunConfig(**settings, **{place: folder})) == 130:
        raise SystemExit(130)  # interrupted; the same command continues
    summary = summarize_run(RunDirectory.open(folder))
    quantized = RunDirectory.open(folder).manifest.get("quantized") or {}
    table = []
    for row in summary.overall:
        comparison = row.comparison
        packed = (quantized.get(row.configuration) or {}).get("packed_bytes")
        entry = {
            "policy": part,
            "precision": row.configuration,
            "success": f"{row.successes}/{row.episodes}",
            "rate %": f"{100 * row.rate:.1f}" if row.rate is not None else "",
            **{f"{key} %": _rate(summary, row.configuration, key) for key in summary.tasks},
            "Δ points": f"{100 * comparison.difference:+.1f}" if comparison else "",
            "95 %": _interval(comparison.interval) if comparison else "",
            "p (Holm)": f"{comparison.p_holm:.2g}" if comparison else "",
            "packed MB": f"{packed / 1e6:.2f}" if packed else "",
        }
        table.append(entry)
    _write(arguments.results / f"success_{part}.csv", table)
    _print(f"Success, {part} policy, {arguments.episodes} episodes a scene, seed {arguments.seed}", table)


def _rate(summary: Any, configuration: str, task: str) -> str:
    rates = [row.rate for row in summary.rows if (row.configuration, row.task) == (configuration, task)]
    return f"{100 * rates[0]:.0f}" if rates and rates[0] is not None else ""


def _interval(interval: Any) -> str:
    return f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"


# Errors


def _errors(part: str, name: str, arguments: argparse.Namespace) -> None:
    """Print the errors on observations from episodes that were not used for calibration."""
    suite = find_suite(SUITE)
    tasks = find_tasks(suite.load_tasks(), ())
    device = "cpu" if arguments.gpu is None else f"cuda:{arguments.gpu}"
    with load_policy(name, device=device, engine="eager") as policy:
        with closing(suite.make(None, num_slots=6, image_size=policy.image_size)) as simulator:
            horizon = policy.open_loop_horizon
            calibration = calibrate(simulator, policy, tasks, seed=arguments.seed, open_loop_horizon=horizon)
            seen = record_observations(
                simulator, policy, tasks, arguments.seed + 1, horizon, episodes=9, number=_OBSERVATIONS
            )
        reference = _actions(policy, seen)
        moved = (
            reference[..., :7]
            - np.stack([one.observation["observation/joint_position"] for one in seen])[:, None]
        )
        inputs = policy.record_inputs([one.observation for one in seen], [one.noise for one in seen]).layers
        table = []
        for dtype in ERRORS:
            policy.calibration = calibration
            policy.set_precision(Precision(dtype))
            actions = _actions(policy, seen)
            policy.set_precision(Precision())
            table.append(
                {
                    "policy": part,
                    "precision": dtype,
                    **_layer_errors(policy.module, dtype, calibration, inputs),
                    "joint actions": f"{_rms(actions[..., :7] - reference[..., :7]) / _rms(moved):.4f}",
                    "gripper": f"{_rms(actions[..., 7] - reference[..., 7]):.4f}",
                }
            )
    _write(arguments.results / f"errors_{part}.csv", table)
    _print(
        f"Relative root-mean-square errors, {part} policy, {len(seen)} observations: median and largest over "
        "layers; joint actions relative to how far they move from the present, gripper absolute (0 to 1)",
        table,
    )


def _actions(policy: LocalPolicy, seen: list[RecordedObservation]) -> np.ndarray:
    replies = policy.infer_batch([one.observation for one in seen], np.stack([one.noise for one in seen]))
    return np.stack([reply["actions"] for reply in replies])


def _layer_errors(model: nn.Module, dtype: str, calibration: Calibration, inputs: Any) -> dict[str, str]:
    originals = {
        name: module.weight.detach().clone()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
    weights, activations, outputs = [], [], []
    with quantize_(model, Precision(dtype), calibration=calibration) as handle, torch.no_grad():
        for name, layer in handle.layers.items():
            weight = originals[name]
            x = inputs[name].tokens.to(weight.device, torch.float32)
            turned, rounded = layer.inputs.basis.of_input(x), layer.inputs(x)
            output = rounded @ layer.weight_for(weight).t()
            output = output if layer.output is None else layer.output(output)
            weights.append(_relative(layer.effective_weight(weight), weight))
            activations.append(_relative(rounded, turned))
            outputs.append(_relative(output, x @ weight.t()))
        packed = handle.packed_bytes
    return {
        "weights": _spread(weights),
        "activations": _spread(activations),
        "layer outputs": _spread(outputs),
        "packed MB": f"{packed / 1e6:.2f}",
    }


def _relative(now: Tensor, then: Tensor) -> float:
    return float((now - then).norm() / then.norm())


def _spread(values: list[float]) -> str:
    return f"{np.median(values):.4f}, {max(values):.3f}"


def _rms(values: np.ndarray) -> float:
    return math.sqrt(float(np.square(values, dtype=np.float64).mean()))


# The policy with outliers


def _with_outliers(name: str, folder: Path, factor: float) -> Path:
    """Write a policy with the same function whose activations have outlier channels."""
    with load_policy(name, engine="eager") as policy:
        ours, generator = policy.policy, torch.Generator().manual_seed(0)
        with torch.no_grad():
            for module in ours.model.modules():
                if isinstance(module, GemmaLayer):
                    _outliers_in_gemma(module, factor, generator)
                elif isinstance(module, SiglipLayer):
                    attention = module.self_attn
                    behind = [attention.q_proj, attention.k_proj, attention.v_proj]
                    for norm, layers in (
                        (module.layer_norm1, behind),
                        (module.layer_norm2, [module.mlp.fc1]),
                    ):
                        chosen = _some(len(norm.weight), generator)
                        norm.weight[chosen] *= factor
                        norm.bias[chosen] *= factor
                        _divide(layers, chosen, factor)
        save_checkpoint(folder, ours.model, ours.config, ours.norm_stats, ours.tokenizer)
    return folder


def _outliers_in_gemma(layer: GemmaLayer, factor: float, generator: torch.Generator) -> None:
    attention = layer.self_attn
    names = [name for name in ("q_proj", "k_proj", "v_proj") if hasattr(attention, name)]
    pairs = [(layer.input_layernorm, [getattr(attention, name) for name in names])]
    if hasattr(layer, "mlp"):
        mlp = layer.mlp
        pairs.append((layer.post_attention_layernorm, [mlp.gate_proj, mlp.up_proj]))
        chosen = _some(mlp.up_proj.out_features, generator)
        mlp.up_proj.weight[chosen] *= factor
        _divide([mlp.down_proj], chosen, factor)
    for norm, layers in pairs:
        chosen = _some(layers[0].in_features, generator)
        if hasattr(norm, "weight"):  # adaptive norms have no scale of their own
            norm.weight[chosen] = (1 + norm.weight[chosen]) * factor - 1
            _divide(layers, chosen, factor)


def _some(width: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(width, generator=generator)[: max(1, round(width / 100))]


def _divide(layers: list[Any], channels: Tensor, factor: float) -> None:
    for layer in layers:
        layer.weight[:, channels] /= factor


# Tables


def _write(path: Path, table: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def _print(title: str, table: list[dict[str, str]]) -> None:
    heads = [head for head in table[0] if head != "policy"]
    print(f"\n{title}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in table:
        print(f"| {' | '.join(row[head] for head in heads)} |")
    print(flush=True)


if __name__ == "__main__":
    main()
