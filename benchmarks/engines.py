"""How fast the engines are, at every precision: random weights of a named configuration.

Prints for each engine, weight type, batch and precision: the seconds until the first actions, latency (median, 5th
and 95th percentile, in rounds over all cases of a batch), the ratio to the same engine's unquantized latency, and
the relative error of the actions against the eager model at the same precision in float32.

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

from headless_eval.pi0.config import CONFIGS, Pi0Config
from headless_eval.pi0.engine import ENGINES, make_engine
from headless_eval.pi0.model import Pi0
from headless_eval.precision import MODES, Precision, configurations
from headless_eval.quant import quantize_

QUANTIZED = (
    "float16",
    "bfloat16",
    "float8_e4m3",
    "float8_e5m2",
    "int32",
    "uint32",
    "boolean",
    "int8",
    "int4",
)


def build(config: Pi0Config, device: torch.device, dtype: torch.dtype) -> Pi0:
    """Return a model with random weights, made where it computes."""
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
    """Return what ``sample_actions`` takes; prompts use all of their slots."""
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


def latency(engine: Any, given: tuple[Any, ...], device: torch.device, repeats: int) -> np.ndarray:
    """Return milliseconds from inputs on the device to actions there."""
    times = []
    for _ in range(repeats):
        wait(device)
        begin = time.perf_counter()
        engine.sample_actions(*given)
        wait(device)
        times.append(1e3 * (time.perf_counter() - begin))
    return np.array(times)


def measure(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    device = torch.device(chosen.device)
    config = CONFIGS[chosen.config].model
    views = chosen.views
    config = replace(config, num_steps=chosen.steps or config.num_steps)
    tokens = min(chosen.tokens, config.max_token_len)
    precisions = [Precision(), *(Precision.parse(name) for name in chosen.precisions)]
    if not chosen.precisions:
        precisions = configurations(("float32", *QUANTIZED), chosen.modes)
    found: list[dict[str, Any]] = []
    references: dict[tuple[str, int], torch.Tensor] = {}
    # Eager float32 first: it is what all actions are compared with.
    for dtype in sorted(chosen.dtypes, key=lambda name: name != "float32"):
        model = build(config, device, getattr(torch, dtype))
        for batch in chosen.batches:
            given = inputs(config, batch, views, tokens, device)
            base: dict[str, float] = {}
            for precision in precisions:
                handle = quantize_(model, precision) if precision.dtype != "float32" else None
                for name in chosen.engines:
                    row = {"engine": name, "weights": dtype, "batch": batch, "precision": precision.name}
                    try:
                        began = time.perf_counter()
                        engine = make_engine(name, model, precision, handle=handle)
                        actions = engine.sample_actions(*given).cpu()
                        row["warmup_s"] = time.perf_counter() - began
                        repeats = chosen.repeats if engine.name != "eager" else max(5, chosen.repeats // 5)
                        times = latency(engine, given, device, repeats)
                        if precision.dtype == "float32":
                            base[name] = float(np.median(times))
                    except Exception as error:
                        row["error"] = f"{type(error).__name__}: {error}"[:300]
                        found.append(row)
                        show(row)
                        continue
                    if (key := (precision.name, batch)) not in references:
                        references[key] = actions
                    wanted = references[key]
                    row |= {
                        "name": engine.name,
                        "median_ms": float(np.median(times)),
                        "p5_ms": float(np.percentile(times, 5)),
                        "p95_ms": float(np.percentile(times, 95)),
                        "ratio": float(np.median(times)) / base.get(name, float("nan")),
                        "against_eager_float32": float((actions - wanted).norm() / wanted.norm()),
                        "unfired": [] if handle is None else list(handle.unfired)[:5],
                    }
                    engine.close()
                    del engine
                    found.append(row)
                    show(row)
                if handle is not None:
                    handle.restore()
                gc.collect()
        del model
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return found


def show(row: dict[str, Any]) -> None:
    start = f"{row['weights']:9} batch {row['batch']:2}  {row['engine']:9} {row['precision']:28}"
    if "error" in row:
        print(start, row["error"], flush=True)
        return
    print(
        f"{start} first {row['warmup_s']:6.1f} s   {row['median_ms']:8.2f} ms "
        f"({row['p5_ms']:.2f} to {row['p95_ms']:.2f})  x{row['ratio']:.2f}  "
        f"error {row['against_eager_float32']:.1e}{'  unfired ' + str(row['unfired']) if row['unfired'] else ''}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument(
        "--config", choices=sorted(CONFIGS), help="default: pi05_droid, on a CPU the bundled one"
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
    parser.add_argument("--steps", type=int, help="of the flow; default: the configuration's")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--json", type=Path, help="also write the figures here")
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
