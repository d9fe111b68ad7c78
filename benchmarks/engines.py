"""Latency and errors of the engines at every precision, with random weights of a named configuration.

Prints for each engine, weight type, batch and precision: the seconds until the first actions; latency (median,
5th and 95th percentile), all engines measured in turns; the ratios of the latency to the same engine unquantized and to
the eager model at that precision; and the relative error of the actions, compared with the first engine at that
precision and weights of the first type.

  python benchmarks/engines.py                            the full-size π0.5 on the first GPU
  python benchmarks/engines.py --device cpu               the bundled policy on one thread
  python benchmarks/engines.py --precisions boolean_both int32_both --batches 1
"""

import argparse
import gc
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headless_eval.policies.pi0.config import CONFIGS, Pi0Config
from headless_eval.policies.pi0.engine import ENGINES, make_engine
from headless_eval.policies.pi0.model import Pi0
from headless_eval.quant import quantize_
from headless_eval.quant.precision import DTYPES, MODES, Precision, configurations


def build(config: Pi0Config, device: torch.device, dtype: torch.dtype) -> Pi0:
    """Return a model with random weights, created on the device that it computes on."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = Pi0(config)
    model = model.to(dtype).to_empty(device=device).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.02 if parameter.ndim == 1 or "dense" in name else parameter[0].numel() ** -0.5
            parameter.normal_(std=spread)
            if name.endswith(("layer_norm1.weight", "layer_norm2.weight", "post_layernorm.weight")):
                parameter.add_(1)
    if device.type == "cpu":
        model.lay_out_for_cpu()
    return model


def inputs(config: Pi0Config, batch: int, views: int, tokens: int, device: torch.device) -> tuple[Any, ...]:
    """Return the arguments of ``sample_actions``; prompts have no padding."""
    generator = torch.Generator().manual_seed(1)
    side = config.siglip.image_size
    images = [torch.rand(batch, 3, side, side, generator=generator) * 2 - 1 for _ in range(views)]
    return (
        [image.to(device) for image in images],
        [torch.ones(batch, dtype=torch.bool)] * views,
        torch.randint(config.vocab_size, (batch, tokens), generator=generator),
        torch.ones(batch, tokens, dtype=torch.bool),
        torch.rand(batch, config.action_dim, generator=generator) * 2 - 1,
        torch.randn(batch, config.action_horizon, config.action_dim, generator=generator),
    )


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def latency(
    engines: dict[str, Any], given: tuple[Any, ...], device: torch.device, repeats: int
) -> dict[str, Any]:
    """Return each engine's milliseconds from inputs on the device to actions there, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(repeats):
        for name, engine in engines.items():
            wait(device)
            begin = time.perf_counter()
            engine.sample_actions(*given)
            wait(device)
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: np.array(of) for name, of in times.items()}


def measure(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    device = torch.device(chosen.device)
    config = CONFIGS[chosen.config].model
    config = replace(config, num_steps=chosen.steps or config.num_steps)
    tokens = min(chosen.tokens, config.max_token_len)
    precisions = [Precision(), *(Precision.parse(name) for name in chosen.precisions)]
    if not chosen.precisions:
        precisions = configurations(DTYPES, chosen.modes)
    found: list[dict[str, Any]] = []
    references: dict[tuple[str, int], torch.Tensor] = {}
    # Float32 first: its first engine gives the actions that all others are compared with.
    for dtype in sorted(chosen.dtypes, key=lambda name: name != "float32"):
        model = build(config, device, getattr(torch, dtype))
        for batch in chosen.batches:
            given = inputs(config, batch, chosen.views, tokens, device)
            # Latency does not depend on the weights' values, so these serve for all precisions.
            base = {name: make_engine(name, model) for name in chosen.engines if name != "eager"}
            for engine in base.values():
                engine.sample_actions(*given)
            eager: float | None = None
            for precision in precisions:
                handle = quantize_(model, precision) if precision.dtype != "float32" else None
                engines: dict[str, Any] = {}
                rows = []
                for name in chosen.engines:
                    row = {"engine": name, "weights": dtype, "batch": batch, "precision": precision.name}
                    rows.append(row)
                    try:
                        began = time.perf_counter()
                        engines[name] = make_engine(name, model, precision, handle=handle)
                        actions = engines[name].sample_actions(*given).cpu()
                        row["warmup_s"] = time.perf_counter() - began
                    except Exception as error:
                        engines.pop(name, None)
                        row["error"] = f"{type(error).__name__}: {error}"[:300]
                        continue
                    row["unfired"] = [] if handle is None else list(handle.unfired)[:5]
                    wanted = references.setdefault((precision.name, batch), actions)
                    row["error_of_actions"] = _error(actions, wanted)
                    row["error_of_precision"] = _error(actions, references["float32", batch])
                turns = engines | {f"{name}, unquantized": base[name] for name in engines if name in base}
                times = latency(turns, given, device, chosen.repeats)
                for row in rows:
                    name = row["engine"]
                    if name not in times:
                        continue
                    of = times[name]
                    median = float(np.median(of))
                    row |= {
                        "median_ms": median,
                        "p5_ms": float(np.percentile(of, 5)),
                        "p95_ms": float(np.percentile(of, 95)),
                    }
                    if name == "eager":
                        eager = eager or median
                        row["of_unquantized"] = median / eager
                    else:
                        row["of_unquantized"] = median / float(np.median(times[f"{name}, unquantized"]))
                    if "eager" in times:
                        row["of_eager"] = median / float(np.median(times["eager"]))
                found += rows
                for row in rows:
                    show(row)
                for engine in engines.values():
                    engine.close()
                if handle is not None:
                    handle.restore()
                del engines, turns
                gc.collect()
        del model, base
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return found


def _error(actions: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((actions - wanted).norm() / wanted.norm())


def show(row: dict[str, Any]) -> None:
    start = f"{row['weights']:9} batch {row['batch']:2}  {row['engine']:9} {row['precision']:28}"
    if "error" in row:
        print(start, row["error"], flush=True)
        return
    text = (
        f"{start} first {row['warmup_s']:5.1f} s  {row['median_ms']:8.2f} ms ({row['p5_ms']:.2f} to "
        f"{row['p95_ms']:.2f})  {row['of_unquantized']:.2f} of unquantized"
    )
    if "of_eager" in row:
        text += f"  {row['of_eager']:.2f} of eager"
    text += f"  error {row['error_of_actions']:.1e}, to float32 {row['error_of_precision']:.1e}"
    print(text + (f"  unfired {row['unfired']}" if row["unfired"] else ""), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument(
        "--config", choices=sorted(CONFIGS), help="default: pi05_droid, on a CPU pi0-droid-tiny"
    )
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["eager", "compiled"])
    parser.add_argument(
        "--dtypes", nargs="+", default=None, help="of the weights; default float32 and bfloat16"
    )
    parser.add_argument("--batches", nargs="+", type=int, default=None, help="default 1 8, on a CPU 1")
    parser.add_argument("--precisions", nargs="*", default=[], help="such as float8_e4m3_both; default: all")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--steps", type=int, help="flow steps; default: the configuration's")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    chosen = parser.parse_args()
    on_cpu = chosen.device == "cpu"
    chosen.config = chosen.config or ("pi0-droid-tiny" if on_cpu else "pi05_droid")
    chosen.dtypes = chosen.dtypes or (["float32"] if on_cpu else ["float32", "bfloat16"])
    chosen.batches = chosen.batches or ([1] if on_cpu else [1, 8])
    if on_cpu:
        torch.set_num_threads(1)
    found = measure(chosen)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 1 if any("error" in row for row in found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
