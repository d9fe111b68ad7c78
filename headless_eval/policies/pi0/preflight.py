"""Preflight checks of a π0 checkpoint, with remedies.

``preflight`` runs the cheap checks before every load: it reads headers, statistics and the tokenizer. ``examine`` also
loads the weights and infers once.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from headless_eval.checkpoints.stored import Stored
from headless_eval.policies.checks import FAILED, OK, WARNING, Check
from headless_eval.policies.norm_stats import NormStats
from headless_eval.policies.paligemma.tokenizer import Tokenizer, find_tokenizer
from headless_eval.policies.pi0.checkpoint import (
    describe_format,
    find_norm_stats,
    open_weights,
    their_name,
)
from headless_eval.policies.pi0.config import PolicyConfig
from headless_eval.policies.pi0.model import count_parameters
from headless_eval.policies.pi0.policy import Pi0Policy
from headless_eval.policies.pi0.weights import build_model, check_weights
from headless_eval.policies.preflight import (
    Opened,
    check_memory,
    check_statistics,
    check_tokenizer,
    make_checks,
    refuse_failures,
)
from headless_eval.shared.text import bytes_text, plural

_PROMPT = "pick up the object on the left and put it into the container on the right"


class _Found:
    """The findings of the checks so far."""

    weights: dict[str, Stored]
    stats: dict[str, NormStats]
    tokenizer: Tokenizer
    policy: Pi0Policy

    def __init__(
        self,
        folder: Path,
        config: PolicyConfig,
        tokenizer: Path | None,
        device: str,
        dtype: str,
        prompt: str | None = None,
    ):
        self.folder, self.config, self.tokenizer_path = folder, config, tokenizer
        self.prompt = prompt or _PROMPT
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)
        self.parameters = count_parameters(config.model)


_Step = Callable[[_Found], tuple[str, str]]


def preflight(
    folder: Path,
    config: PolicyConfig,
    tokenizer: Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> Opened:
    """Run the checks that read no weights; return the opened files.

    Raises:
        UserError: a check failed; the message says what to do.
    """
    found = _Found(folder, config, tokenizer, device, dtype)
    refuse_failures(_CHECKS, found, _LEFT_TO_EXAMINE)
    return Opened(found.weights, found.stats, found.tokenizer)


def examine(
    folder: Path,
    config: PolicyConfig,
    tokenizer: Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    prompt: str | None = None,
) -> Iterator[Check]:
    """Run all checks in order; checks that depend on a failed check are skipped.

    Args:
        folder: the checkpoint's folder.
        config: the checkpoint's configuration.
        tokenizer: SentencePiece model; by default found as for a policy.
        device: the device to compute on.
        dtype: type of the weights.
        prompt: the longest instruction that the policy will get; by default an instruction of 16 words.
    """
    found = _Found(folder, config, tokenizer, device, dtype, prompt)
    return make_checks(_CHECKS, found, _NEEDS)


# Checks that read no weights


def _files(found: _Found) -> tuple[str, str]:
    kind, files = describe_format(found.folder)
    size = sum(file.stat().st_size for file in files)
    return OK, f"{kind}, {plural(len(files), 'file')}, {bytes_text(size)}"


def _weights(found: _Found) -> tuple[str, str]:
    model = found.config.model
    found.weights = open_weights(found.folder, model)
    check_weights(found.weights, model, found.folder, their_name(found.folder))
    kind = "π0.5" if model.pi05 else "π0"
    return OK, f"names and shapes of {found.parameters:,} parameters are those of this {kind}"


def _statistics(found: _Found) -> tuple[str, str]:
    found.stats = find_norm_stats(found.folder, found.config)
    dims = {"state": found.config.robot.state_dims, "actions": found.config.action_dims}
    return check_statistics(found.stats, dims, found.config.use_quantile_norm)


def _tokenizer(found: _Found) -> tuple[str, str]:
    found.tokenizer = Tokenizer(find_tokenizer(found.folder, found.tokenizer_path))
    return check_tokenizer(found.tokenizer, found.config.model.vocab_size)


def _prompt(found: _Found) -> tuple[str, str]:
    sizes = found.config.model
    worst = np.ones(found.config.robot.state_dims) if sizes.discrete_state_input else None
    needed = len(found.tokenizer.prompt_tokens(found.prompt, worst))
    text = f"{needed} of {sizes.max_token_len} slots for {found.prompt!r}"
    if needed > sizes.max_token_len:
        return WARNING, f"{text}: prompts of this length are cut off; write short ones"
    return OK, text


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
    return check_memory(found.parameters, found.device, found.dtype)


# Checks that read the weights


def _load(found: _Found) -> tuple[str, str]:
    begin = perf_counter()
    model = build_model(
        found.config.model,
        found.weights,
        found.folder,
        found.device,
        found.dtype,
        their_name(found.folder),
    )
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
    """Return a fixed observation: shaded images, the mean state, a prompt."""
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
    """Return fixed flow noise, float32 (horizon, action_dim)."""
    shape = config.model.action_horizon, config.model.action_dim
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _relative(actions: np.ndarray, found: _Found) -> np.ndarray:
    mask = found.config.delta_actions_mask
    if mask is None:
        return actions
    relative = actions.copy()
    relative[:, : len(mask)] -= np.where(mask, found.stats["state"].mean[: len(mask)], 0)
    return relative


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
