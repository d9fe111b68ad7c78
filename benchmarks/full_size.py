"""Time and memory of checkpoints at full size: random weights in openpi's formats, written, read back and run.

    python benchmarks/full_size.py --size full --gpu 0 --dir /scratch     (needs 50 GB of disk, 45 GB of memory)
    python benchmarks/full_size.py --size golden                          (seconds on a CPU)

Every measurement runs in its own process, so that peak memory is measured separately. Prints a table; with --json also
writes the figures to a file.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from headless_eval import Precision, load_policy
from headless_eval.policies.norm_stats import NormStats, write_norm_stats
from headless_eval.policies.paligemma.config import GemmaConfig, SiglipConfig
from headless_eval.policies.paligemma.tokenizer import train_tokenizer
from headless_eval.policies.pi0.checkpoint import describe_format, load_model
from headless_eval.policies.pi0.config import CONFIGS, Pi0Config, PolicyConfig, read_config, write_config
from headless_eval.policies.pi0.convert import convert
from headless_eval.policies.pi0.preflight import fixed_noise, fixed_observation
from headless_eval.quant.dtypes import DTYPES

FORMATS = ("jax", "pytorch")
CHUNK = 2**31  # bytes


def small(config: PolicyConfig) -> PolicyConfig:
    """Return the configuration with a model so small that a CPU runs it at once."""
    gemma = GemmaConfig(width=64, depth=4, mlp_dim=128, num_heads=8, num_kv_heads=1, head_dim=16)
    siglip = SiglipConfig(width=32, depth=2, mlp_dim=128, num_heads=2, patch_size=14, image_size=224)
    model = replace(config.model, gemma=gemma, expert=gemma, siglip=siglip, vocab_size=512)
    return replace(config, model=model)


def jax_shapes(config: Pi0Config) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the arrays of openpi's JAX checkpoints."""
    vision, head = config.siglip, config.siglip.width // config.siglip.num_heads
    layers, width = vision.depth, vision.width
    block = "PaliGemma/img/Transformer/encoderblock/"
    shapes: dict[str, tuple[int, ...]] = {
        "PaliGemma/img/embedding/kernel": (vision.patch_size, vision.patch_size, 3, width),
        "PaliGemma/img/embedding/bias": (width,),
        "PaliGemma/img/pos_embedding": (1, vision.num_patches, width),
        "PaliGemma/img/Transformer/encoder_norm/scale": (width,),
        "PaliGemma/img/Transformer/encoder_norm/bias": (width,),
        "PaliGemma/img/head/kernel": (width, config.gemma.width),
        "PaliGemma/img/head/bias": (config.gemma.width,),
        "PaliGemma/llm/embedder/input_embedding": (config.vocab_size, config.gemma.width),
        f"{block}MlpBlock_0/Dense_0/kernel": (layers, width, vision.mlp_dim),
        f"{block}MlpBlock_0/Dense_0/bias": (layers, vision.mlp_dim),
        f"{block}MlpBlock_0/Dense_1/kernel": (layers, vision.mlp_dim, width),
        f"{block}MlpBlock_0/Dense_1/bias": (layers, width),
        f"{block}MultiHeadDotProductAttention_0/out/kernel": (layers, vision.num_heads, head, width),
        f"{block}MultiHeadDotProductAttention_0/out/bias": (layers, width),
    }
    for norm in ("LayerNorm_0", "LayerNorm_1"):
        shapes[f"{block}{norm}/scale"] = shapes[f"{block}{norm}/bias"] = (layers, width)
    for name in ("query", "key", "value"):
        attention = f"{block}MultiHeadDotProductAttention_0/{name}/"
        shapes[f"{attention}kernel"] = (layers, width, vision.num_heads, head)
        shapes[f"{attention}bias"] = (layers, vision.num_heads, head)
    for suffix, of in (("", config.gemma), ("_1", config.expert)):
        start, deep = "PaliGemma/llm/layers/", of.depth
        shapes |= {
            f"{start}attn/q_einsum{suffix}/w": (deep, of.num_heads, of.width, of.head_dim),
            f"{start}attn/kv_einsum{suffix}/w": (deep, 2, of.num_kv_heads, of.width, of.head_dim),
            f"{start}attn/attn_vec_einsum{suffix}/w": (deep, of.num_heads, of.head_dim, of.width),
            f"{start}mlp{suffix}/gating_einsum": (deep, 2, of.width, of.mlp_dim),
            f"{start}mlp{suffix}/linear": (deep, of.mlp_dim, of.width),
        }
        for norm, lead in (
            (f"{start}pre_attention_norm{suffix}", (deep,)),
            (f"{start}pre_ffw_norm{suffix}", (deep,)),
            (f"PaliGemma/llm/final_norm{suffix}", ()),
        ):
            if suffix and config.pi05:
                shapes[f"{norm}/Dense_0/kernel"] = (*lead, of.width, 3 * of.width)
                shapes[f"{norm}/Dense_0/bias"] = (*lead, 3 * of.width)
            else:
                shapes[f"{norm}/scale"] = (*lead, of.width)
    wide, dims = config.expert.width, config.action_dim
    projections = {"action_in_proj": (dims, wide), "action_out_proj": (wide, dims)}
    if config.pi05:
        projections |= {"time_mlp_in": (wide, wide), "time_mlp_out": (wide, wide)}
    else:
        projections |= {"state_proj": (dims, wide), "action_time_mlp_in": (2 * wide, wide)}
        projections |= {"action_time_mlp_out": (wide, wide)}
    for name, shape in projections.items():
        shapes[f"{name}/kernel"], shapes[f"{name}/bias"] = shape, shape[1:]
    return shapes


def orbax_chunk(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the chunk of a float32 array on one device: the array, its largest axis halved until it fits 2 GiB."""
    chunk = list(shape)
    while 4 * math.prod(chunk) > CHUNK:
        largest = chunk.index(max(chunk))
        chunk[largest] = -(-chunk[largest] // 2)
    return tuple(chunk)


def write_jax(folder: Path, config: Pi0Config) -> None:
    """Write random float32 weights in orbax's layout."""
    import tensorstore

    base = {"driver": "ocdbt", "base": f"file://{(folder / 'params').resolve()}/"}

    def write_one(seed: int, name: str, shape: tuple[int, ...]) -> None:
        values = np.random.default_rng(seed).standard_normal(shape, np.float32)
        values *= 0.02
        kvstore = {**base, "path": f"params.{name.replace('/', '.')}/"}
        metadata = {"chunks": orbax_chunk(shape), "compressor": {"id": "zstd", "level": 1}}
        spec = {"driver": "zarr", "kvstore": kvstore, "metadata": metadata}
        store = tensorstore.open(spec, context=context, create=True, dtype="float32", shape=shape).result()
        store.write(values).result()

    # One context: each array's entry goes into the same tree.
    context = tensorstore.Context()
    with ThreadPoolExecutor(3) as pool:
        shapes = sorted(jax_shapes(config).items(), key=lambda item: -int(np.prod(item[1])))
        list(pool.map(write_one, range(len(shapes)), *zip(*shapes, strict=True)))


def write(folder: Path, config: PolicyConfig) -> None:
    """Write both formats, with configuration, statistics and tokenizer; both hold the same weights."""
    jax = folder / "jax"
    jax.mkdir(parents=True)
    write_jax(jax, config.model)
    home = np.array([0.0, -0.6, 0.0, -2.2, 0.0, 1.6, 0.0, 0.0])
    dims = len(home)
    spread = np.full(dims, 0.05)
    stats = {
        "state": NormStats(home, spread, home - 0.1, home + 0.1),
        "actions": NormStats(0 * home, spread, 0 * home - 0.01, 0 * home + 0.01),
    }
    write_norm_stats(jax / "assets" / config.asset_id / "norm_stats.json", stats)
    write_config(jax / "config.toml", config)
    train_tokenizer(["put the cube in the bowl"], jax / "tokenizer.model", 512)
    for line in convert(jax, folder / "pytorch", config, to="openpi"):
        print(line, file=sys.stderr)


def peak() -> int:
    """Return this process's peak host memory in bytes; getrusage's value would include the parent's."""
    return _status("VmHWM")


def restart_peak() -> int:
    """Reset the peak; return the memory in use now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def gpu_peak(device: str) -> int:
    return torch.cuda.max_memory_allocated(device) if device != "cpu" else 0


def files_of(folder: Path, cold: bool) -> list[Path]:
    """Return a checkpoint's weight files; ``cold`` drops them from the system's page cache."""
    _, files = describe_format(folder)
    for path in files if cold else []:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return files


def stage_read(folder: Path, device: str, cold: bool) -> dict[str, Any]:
    """Read the bytes of the files and discard them."""
    files = files_of(folder, cold)
    block, size, begin = bytearray(2**24), 0, perf_counter()
    for path in files:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(block):
                size += count
    return {"bytes": size, "seconds": perf_counter() - begin}


def stage_weights(folder: Path, device: str, cold: bool) -> dict[str, Any]:
    """Load only the model, without statistics and tokenizer."""
    config = read_config(folder / "config.toml")
    if device != "cpu":
        torch.zeros(1, device=device)  # the start of CUDA must not count as reading
    files_of(folder, cold)
    begin = perf_counter()
    model = load_model(config.model, folder, torch.device(device), torch.float32)
    if device != "cpu":
        torch.cuda.synchronize()
    return {"seconds": perf_counter() - begin, "parameters": sum(p.numel() for p in model.parameters())}


def stage_load(folder: Path, device: str, dtype: str = "float32") -> dict[str, Any]:
    """Load a policy and create its engine."""
    if device != "cpu":
        torch.zeros(1, device=device)
    before, begin = restart_peak(), perf_counter()
    with load_policy(checkpoint=folder, device=device, dtype=dtype) as policy:
        seconds = perf_counter() - begin
        used = peak() - before
        return {
            "seconds": seconds,
            "host_peak": used,
            "gpu_peak": gpu_peak(device),
            "fingerprint": policy.fingerprint(),
        }


def stage_infer(folder: Path, device: str, dtype: str, batch: int) -> dict[str, Any]:
    with load_policy(checkpoint=folder, device=device, dtype=dtype, max_batch=batch) as policy:
        settings = policy.policy.config
        obs = fixed_observation(settings, policy.policy.norm_stats["state"])
        warmup = policy.warmup(obs)
        noise = np.stack([fixed_noise(settings)] * batch)
        times = []
        for _ in range(10):
            begin = perf_counter()
            replies = policy.infer_batch([obs] * batch, noise)
            times.append(1e3 * (perf_counter() - begin))
        finite = all(bool(np.isfinite(reply["actions"]).all()) for reply in replies)
        return {
            "warmup_s": warmup,
            "p50_ms": float(np.median(times)),
            "max_ms": max(times),
            "gpu_peak": gpu_peak(device),
            "finite": finite,
        }


def stage_quantize(folder: Path, device: str) -> dict[str, Any]:
    """Put the weights into every dtype in place and restore them; say whether every bit was restored."""

    def ready() -> float:
        if device != "cpu":
            torch.cuda.synchronize()
        return perf_counter()

    with load_policy(checkpoint=folder, device=device) as policy:
        before = policy.fingerprint()
        found: dict[str, Any] = {}
        for dtype in list(DTYPES)[1:]:
            begin = ready()
            policy.set_precision(Precision(dtype))
            middle = ready()
            policy.set_precision(Precision())
            found[dtype] = {"quantize_s": middle - begin, "restore_s": ready() - middle}
        return {"dtypes": found, "restored": policy.fingerprint() == before, "host_peak": peak()}


def stage_episodes(folder: Path, device: str, episodes: int) -> dict[str, Any]:
    """Evaluate in the MuJoCo scenes, end to end, with the command line."""
    from headless_eval.cli.main import main as command

    results = folder.parent / "results"
    flags = [
        "run",
        "--checkpoint",
        str(folder),
        "--episodes",
        str(episodes),
        "--dtypes",
        "float32",
        "bfloat16",
    ]
    flags += ["--videos", "none", "--quiet", "--results", str(results)]
    if device != "cpu":
        flags += ["--gpu", device.removeprefix("cuda:")]
    begin = perf_counter()
    status = command(flags)
    seconds = perf_counter() - begin
    records = [json.loads(line) for line in (results / "journal.jsonl").read_text("utf-8").splitlines()]
    finished = sum(record["status"] != "error" for record in records)
    return {"status": status, "seconds": seconds, "finished": finished, "gpu_peak": gpu_peak(device)}


def in_a_process(stage: str, *arguments: object) -> dict[str, Any]:
    """Run one stage in a new process and return what it found."""
    command = [sys.executable, __file__, "--stage", stage, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    print(stage, *arguments[1:], json.dumps(found), file=sys.stderr, flush=True)  # only the end of the output
    return found


def run_stage(stage: str, arguments: list[str]) -> None:
    folder, device, *rest = arguments
    if stage == "read":
        found = stage_read(Path(folder), device, rest == ["cold"])
    elif stage == "weights":
        found = stage_weights(Path(folder), device, rest == ["cold"])
    elif stage == "load":
        found = stage_load(Path(folder), device, *rest)
    elif stage == "infer":
        found = stage_infer(Path(folder), device, rest[0], int(rest[1]))
    elif stage == "quantize":
        found = stage_quantize(Path(folder), device)
    else:
        found = stage_episodes(Path(folder), device, int(rest[0]))
    print(json.dumps(found))


def measure(folder: Path, device: str, episodes: int) -> dict[str, Any]:
    found: dict[str, Any] = {"device": device, "name": read_config(folder / "jax" / "config.toml").name}
    for kind in FORMATS:
        checkpoint = folder / kind
        for state in ("cached", "cold"):
            found[f"read {kind} {state}"] = read = in_a_process("read", checkpoint, device, state)
            found[f"weights {kind} {state}"] = weights = in_a_process("weights", checkpoint, device, state)
            weights["times_of_reading"] = weights["seconds"] / read["seconds"]
        found[f"load {kind}"] = load = in_a_process("load", checkpoint, device)
        load["host_peak_of_size"] = load["host_peak"] / read["bytes"]
    found["same_weights"] = len({found[f"load {kind}"]["fingerprint"] for kind in FORMATS}) == 1
    found["load pytorch bfloat16"] = in_a_process("load", folder / "pytorch", device, "bfloat16")
    for dtype in ("float32", "bfloat16"):
        for batch in (1, 8):
            found[f"infer {dtype} x{batch}"] = in_a_process("infer", folder / "pytorch", device, dtype, batch)
    found["quantize"] = in_a_process("quantize", folder / "pytorch", device)
    if episodes:
        found["episodes"] = in_a_process("episodes", folder / "pytorch", device, episodes)
    return found


def show(found: dict[str, Any]) -> None:
    print(
        f"{found['name']} on {found['device']}; both formats hold the same weights: {found['same_weights']}"
    )
    for name, of in found.items():
        if not isinstance(of, dict):
            continue
        if name == "quantize":
            for dtype, times in of["dtypes"].items():
                print(
                    f"  {dtype:12} quantized in {times['quantize_s']:.3f} s, restored in {times['restore_s']:.3f} s"
                )
            print(f"  every bit restored: {of['restored']}")
            continue
        figures = {key: value for key, value in of.items() if key != "fingerprint"}
        print(f"  {name:24}", ", ".join(f"{key} {_figure(key, value)}" for key, value in figures.items()))


def _figure(key: str, value: Any) -> str:
    if key in ("bytes", "host_peak", "gpu_peak"):
        return f"{value / 1e9:.3f} GB"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def main() -> int:
    if sys.argv[1:2] == ["--stage"]:
        run_stage(sys.argv[2], sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=("golden", "full"), default="golden")
    parser.add_argument("--config", choices=sorted(CONFIGS), default="pi05_droid_jointpos_polaris")
    parser.add_argument("--gpu", type=int)
    parser.add_argument("--episodes", type=int, default=1, help="per scene and precision; 0 skips them")
    parser.add_argument("--dir", type=Path, help="folder for the checkpoints, which are removed at the end")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    chosen = parser.parse_args()
    config = CONFIGS[chosen.config]
    config = small(config) if chosen.size == "golden" else config
    device = "cpu" if chosen.gpu is None else f"cuda:{chosen.gpu}"
    with tempfile.TemporaryDirectory(dir=chosen.dir, prefix="full-size-") as folder:
        write(Path(folder), config)
        found = measure(Path(folder), device, chosen.episodes)
    show(found)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sound = (
        found["same_weights"]
        and found["quantize"]["restored"]
        and found.get("episodes", {}).get("status", 0) == 0
    )
    return 0 if sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
