"""Preflight of a checkpoint: everything that can be known to be wrong before an evaluation, and what to do.

``preflight`` is the cheap part, made before every load: it reads headers, statistics and the tokenizer. ``examine``
goes on to load the weights and to infer once.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from rich.text import Text

from headless_eval.errors import UserError
from headless_eval.policies.baselines import BASELINES
from headless_eval.policies.norm_stats import NormStats
from headless_eval.policies.paligemma.tokenizer import Tokenizer, find_tokenizer
from headless_eval.policies.pi0.config import Pi0Config, PolicyConfig
from headless_eval.policies.pi0.formats.openpi_torch import (
    describe_format,
    load_model,
    open_weights,
    their_name,
)
from headless_eval.policies.pi0.model import Pi0
from headless_eval.policies.pi0.policy import Pi0Policy, find_norm_stats
from headless_eval.policies.pi0.weights import check_weights
from headless_eval.policies.registry import check_device, find_config, find_policy
from headless_eval.policies.trained_on import read_trained_on
from headless_eval.shared.terminal import Listing, new_console
from headless_eval.sims.registry import find_suite, find_tasks

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "FAILED", "skipped"
_STYLES = {OK: "green", WARNING: "yellow", FAILED: "bold red", SKIPPED: "dim"}
_PROMPT = "pick up the object on the left and put it into the container on the right"


@dataclass(frozen=True)
class Check:
    """One check: its name, what came of it, and what was found or is to be done."""

    name: str
    status: str
    text: str


class _Found:
    """What the checks so far have found."""

    stats: dict[str, NormStats]
    tokenizer: Tokenizer
    prompt: str = _PROMPT
    policy: Pi0Policy

    def __init__(self, folder: Path, config: PolicyConfig, tokenizer: Path | None, device: str, dtype: str):
        self.folder, self.config, self.tokenizer_path = folder, config, tokenizer
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)
        self.parameters = count_parameters(config.model)


_Step = Callable[[_Found], tuple[str, str]]


def preflight(
    folder: Path,
    config: PolicyConfig,
    tokenizer: Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> None:
    """Refuse a checkpoint that cannot be evaluated rightly, without reading its weights.

    Raises:
        UserError: a check of the cheap part failed; the message says what to do.
    """
    found = _Found(folder, config, tokenizer, device, dtype)
    for name, step in _CHECKS.items():
        if name in _LEFT_TO_EXAMINE:
            continue
        status, text = step(found)
        if status == FAILED:
            raise UserError(text)


def examine(
    folder: Path,
    config: PolicyConfig,
    tokenizer: Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> Iterator[Check]:
    """Make all checks, one after another; those that need a failed one are skipped."""
    found = _Found(folder, config, tokenizer, device, dtype)
    failed: set[str] = set()
    for name, step in _CHECKS.items():
        without = [other for other in _NEEDS.get(name, ()) if other in failed]
        if without:
            failed.add(name)
            yield Check(name, SKIPPED, f"needs {' and '.join(without)}")
            continue
        try:
            status, text = step(found)
        except UserError as error:
            status, text = FAILED, str(error)
        if status == FAILED:
            failed.add(name)
        yield Check(name, status, text)


def doctor(
    policy: str,
    checkpoint: str | Path | None,
    config: str | None,
    config_file: Path | None,
    tokenizer: Path | None,
    device: str,
    dtype: str,
    robot: str | None = None,
) -> int:
    """Print a table of all checks.

    Returns:
        The exit status: 0 nothing failed, 2 something did.

    Raises:
        UserError: there is no such folder, configuration or device.
    """
    check_device(device)
    if checkpoint is None and policy in BASELINES:
        raise UserError(f"the policy {policy!r} has no checkpoint: there is nothing to check")
    folder, name = find_policy(policy, checkpoint)
    settings = find_config(folder, config, config_file, robot)
    console = new_console()
    console.print(f"{name} as {settings.name}, {dtype} on {device}", highlight=False)
    rows: list[list[str | Text]] = []
    statuses = []
    for check in examine(folder, settings, tokenizer, device, dtype):
        statuses.append(check.status)
        rows.append([check.name, Text(check.status, _STYLES[check.status]), check.text])
    console.print(Listing(("check", "result", "finding"), rows, 3))
    failures, warnings = statuses.count(FAILED), statuses.count(WARNING)
    if failures:
        console.print(f"{failures} of {len(statuses)} checks failed: this checkpoint cannot be evaluated so.")
        return 2
    console.print("This checkpoint can be evaluated" + (f"; warnings: {warnings}." if warnings else "."))
    return 0


def count_parameters(config: Pi0Config) -> int:
    """Return how many parameters a model of these sizes computes with."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Pi0(config).parameters())


def memory_free(device: torch.device) -> int:
    """Return how many bytes can still be had on a device; for the CPU, within the container's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit():
        free = min(free, int(limit[0]) - int(used[0]))
    return free


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []


# The cheap part


def _files(found: _Found) -> tuple[str, str]:
    kind, files = describe_format(found.folder)
    size = sum(file.stat().st_size for file in files)
    return OK, f"{kind}, {len(files)} file{'s' if len(files) != 1 else ''}, {_bytes(size)}"


def _weights(found: _Found) -> tuple[str, str]:
    model = found.config.model
    check_weights(open_weights(found.folder, model), model, found.folder, their_name(found.folder))
    kind = "π0.5" if model.pi05 else "π0"
    return OK, f"names and shapes of {found.parameters:,} parameters are those of this {kind}"


def _statistics(found: _Found) -> tuple[str, str]:
    found.stats = find_norm_stats(found.folder, found.config)
    quantiles = found.config.use_quantile_norm
    still = []
    for kind, of in found.stats.items():
        dims = found.config.robot.state_dims if kind == "state" else found.config.action_dims
        span = of.q99 - of.q01 if quantiles and of.q01 is not None and of.q99 is not None else of.std
        if (span[:dims] < 0).any():
            return FAILED, (
                f"the normalisation statistics of {kind} have a negative {'range' if quantiles else 'deviation'}: "
                "compute them again"
            )
        still += [f"{kind} {index}" for index in np.flatnonzero(span[:dims] < 1e-5)]
    how = "quantiles" if quantiles else "mean and deviation"
    lengths = ", ".join(f"{kind} {len(of)}" for kind, of in found.stats.items())
    if still:
        return WARNING, f"by {how}, {lengths}; never moved in training: {', '.join(still)}"
    return OK, f"by {how}, {lengths}"


def _tokenizer(found: _Found) -> tuple[str, str]:
    tokenizer = Tokenizer(find_tokenizer(found.folder, found.tokenizer_path))
    there, wanted = len(tokenizer), found.config.model.vocab_size
    if there > wanted:
        return FAILED, (
            f"the tokenizer {tokenizer.path} has {there} tokens, the model {wanted}: it is not the one that the "
            "model was trained with; name that one (--tokenizer FILE)"
        )
    found.tokenizer = tokenizer
    text = f"{tokenizer.path.name}, {there:,} tokens for the model's {wanted:,}"
    # PaliGemma's has a thousand fewer than its model; half of them is another's.
    return (WARNING, f"{text}: is it the one it was trained with?") if there < 0.5 * wanted else (OK, text)


def _prompt(found: _Found) -> tuple[str, str]:
    sizes = found.config.model
    worst = np.ones(found.config.robot.state_dims) if sizes.discrete_state_input else None
    found.prompt = _trained_prompt(found.folder) or _PROMPT
    needed = len(found.tokenizer.prompt_tokens(found.prompt, worst))
    text = f"{needed} of {sizes.max_token_len} slots for {found.prompt!r}"
    if needed > sizes.max_token_len:
        return WARNING, f"{text}: prompts of this length are cut off; write short ones"
    return OK, text


def _trained_prompt(folder: Path) -> str | None:
    """Return the longest instruction that a policy was trained on; None where its folder does not tell."""
    trained_on = read_trained_on(folder)
    if trained_on is None:
        return None
    try:
        tasks = find_tasks(find_suite(trained_on.suite).load_tasks(), trained_on.tasks)
    except UserError:  # of a suite or a task that is not known here
        return None
    return max((task.instruction for task in tasks), key=len)


def _observation(found: _Found) -> tuple[str, str]:
    config, robot = found.config, found.config.robot
    masked = [view for view in config.views if view not in robot.images]
    keys = [*robot.images.values(), *(group.key for group in robot.state)]
    text = ", ".join([*keys, "prompt"])
    return OK, f"{config.observation}: {text}" + (f"; masked: {', '.join(masked)}" if masked else "")


def _dimensions(found: _Found) -> tuple[str, str]:
    config, robot = found.config, found.config.robot
    if config.action_dims != robot.action_dims:
        return FAILED, (
            f"the configuration has {config.action_dims} actions, the robot {config.observation} "
            f"{robot.action_dims}: set action_dims"
        )
    relative = "relative to the state" if config.delta_actions_mask else "absolute"
    return OK, (
        f"state {robot.state_dims}, actions {config.action_dims} ({relative}), {config.model.action_horizon} a chunk, "
        f"{config.open_loop_horizon} executed"
    )


def _memory(found: _Found) -> tuple[str, str]:
    free = memory_free(found.device)
    item = torch.empty((), dtype=found.dtype).element_size()
    needs = {
        "float32": 4 * found.parameters,
        "bfloat16": 2 * found.parameters,
        # The weights, and the copy that they are restored from.
        f"quantized {str(found.dtype).removeprefix('torch.')}": 2 * item * found.parameters,
    }
    text = ", ".join(f"{name} {_bytes(size)}" for name, size in needs.items())
    text = f"weights as {text}; {_bytes(free)} free on {found.device}"
    if item * found.parameters > free:
        return FAILED, f"{text}: free some, or choose another device or dtype"
    short = [name for name, size in needs.items() if size > free]
    return (WARNING, f"{text}: not enough for {', '.join(short)}") if short else (OK, text)


# What reads the weights


def _load(found: _Found) -> tuple[str, str]:
    begin = perf_counter()
    model = load_model(found.config.model, found.folder, found.device, found.dtype)
    seconds = perf_counter() - begin
    found.policy = Pi0Policy(model, found.config, found.stats, found.tokenizer)
    return OK, f"all finite; loaded in {seconds:.1f} s"


def _inference(found: _Found) -> tuple[str, str]:
    begin = perf_counter()
    actions = found.policy.infer(
        fixed_observation(found.config, found.stats["state"], found.prompt), noise=fixed_noise(found.config)
    )["actions"]
    seconds = perf_counter() - begin
    if not np.isfinite(actions).all():
        return FAILED, f"the actions hold NaN or infinity in {found.dtype}: try --dtype float32"
    normal = found.stats["actions"].normalize(_relative(actions, found), found.config.use_quantile_norm)
    extreme = float(np.abs(normal).max())
    text = f"actions {actions.min():.3g} to {actions.max():.3g} in {1e3 * seconds:.0f} ms"
    if extreme > 10:
        return WARNING, f"{text}; {extreme:.0f} times the range of training: is it the right configuration?"
    return OK, text


def fixed_observation(config: PolicyConfig, state: NormStats, prompt: str = _PROMPT) -> dict[str, Any]:
    """Return an observation that is always the same: shaded images, the mean state, a prompt."""
    rows, columns = np.mgrid[0:224, 0:224].astype(np.uint8)
    obs: dict[str, Any] = {
        key: np.stack([rows, columns, rows ^ columns], -1) for key in config.robot.images.values()
    }
    start = 0
    for group in config.robot.state:
        obs[group.key] = state.mean[start : start + group.dims]
        start += group.dims
    return {**obs, "prompt": prompt}


def fixed_noise(config: PolicyConfig) -> np.ndarray:
    """Return flow noise that is always the same, float32 (horizon, action_dim)."""
    shape = config.model.action_horizon, config.model.action_dim
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _relative(actions: np.ndarray, found: _Found) -> np.ndarray:
    mask = found.config.delta_actions_mask
    if mask is None:
        return actions
    relative = actions.copy()
    relative[:, : len(mask)] -= np.where(mask, found.stats["state"].mean[: len(mask)], 0)
    return relative


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


_CHECKS: dict[str, _Step] = {
    "files": _files,
    "weights": _weights,
    "statistics": _statistics,
    "tokenizer": _tokenizer,
    "prompt": _prompt,
    "observation": _observation,
    "dimensions": _dimensions,
    "memory": _memory,
    "load": _load,
    "inference": _inference,
}
_LEFT_TO_EXAMINE = ("prompt", "load", "inference")  # the first refuses nothing, the others read the weights
_NEEDS = {
    "weights": ("files",),
    "prompt": ("tokenizer",),
    "load": ("weights", "statistics", "tokenizer", "dimensions", "memory"),
    "inference": ("load",),
}
