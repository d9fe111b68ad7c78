"""Preflight checks of an open-pi-zero checkpoint, with remedies.

``preflight`` runs the cheap checks before every load: it reads headers, statistics and the tokenizer. ``examine`` also
loads the weights and infers once.
"""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from headless_eval.checkpoints.stored import Stored, check_fit, read_into
from headless_eval.policies.checks import FAILED, OK, WARNING, Check
from headless_eval.policies.norm_stats import NormStats
from headless_eval.policies.open_pi_zero.config import PolicyConfig
from headless_eval.policies.open_pi_zero.formats import describe_format, find_norm_stats, open_weights
from headless_eval.policies.open_pi_zero.model import OpenPiZero
from headless_eval.policies.open_pi_zero.names import to_theirs
from headless_eval.policies.open_pi_zero.policy import OpenPiZeroPolicy
from headless_eval.policies.paligemma.tokenizer import Tokenizer, find_tokenizer
from headless_eval.policies.preflight import (
    Opened,
    Steps,
    check_memory,
    check_statistics,
    check_tokenizer,
    make_checks,
    refuse_failures,
)
from headless_eval.shared.text import bytes_text, plural

_PROMPT = "put the green block on the yellow block beside the plate"


class _Found:
    """The findings of the checks so far."""

    weights: dict[str, Stored]
    stats: dict[str, NormStats]
    tokenizer: Tokenizer
    policy: OpenPiZeroPolicy

    def __init__(
        self,
        path: Path,
        config: PolicyConfig,
        tokenizer: Path | None,
        device: str,
        dtype: str,
        prompt: str | None = None,
    ):
        self.path, self.config, self.tokenizer_path = path, config, tokenizer
        self.prompt = prompt or _PROMPT
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)
        with torch.device("meta"):
            self.model = OpenPiZero(config.model)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())


def preflight(
    path: Path,
    config: PolicyConfig,
    tokenizer: Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> Opened:
    """Run the checks that read no weights; return the opened files.

    Raises:
        UserError: a check failed; the message says what to do.
    """
    found = _Found(path, config, tokenizer, device, dtype)
    refuse_failures(_CHECKS, found, _LEFT_TO_EXAMINE)
    return Opened(found.weights, found.stats, found.tokenizer)


def examine(
    path: Path,
    config: PolicyConfig,
    tokenizer: Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    prompt: str | None = None,
) -> Iterator[Check]:
    """Run all checks in order; checks that depend on a failed check are skipped.

    Args:
        path: the checkpoint's file or folder.
        config: the checkpoint's configuration.
        tokenizer: SentencePiece model; by default found as for a policy.
        device: the device to compute on.
        dtype: type of the weights.
        prompt: the longest instruction that the policy will get.
    """
    return make_checks(_CHECKS, _Found(path, config, tokenizer, device, dtype, prompt), _NEEDS)


# Checks that read no weights


def _files(found: _Found) -> tuple[str, str]:
    kind, files = describe_format(found.path)
    size = sum(file.stat().st_size for file in files)
    return OK, f"{kind}, {plural(len(files), 'file')}, {bytes_text(size)}"


def _weights(found: _Found) -> tuple[str, str]:
    found.weights = open_weights(found.path, found.config)
    check_fit(found.weights, found.model.state_dict(), found.path, to_theirs)
    return OK, f"names and shapes of {found.parameters:,} parameters are those of this open-pi-zero"


def _constants(found: _Found) -> tuple[str, str]:
    sizes = found.config.model
    text = f"rotary base {sizes.expert_rope_theta:g} of the expert, longest period of time {sizes.time_max_period:g}"
    if found.path.is_file():
        return OK, f"{text}: no file holds them; another training needs a --config-file"
    return OK, text


def _statistics(found: _Found) -> tuple[str, str]:
    found.stats = find_norm_stats(found.path, found.config)
    return check_statistics(found.stats, {kind: len(of) for kind, of in found.stats.items()}, quantiles=True)


def _tokenizer(found: _Found) -> tuple[str, str]:
    folder = found.path if found.path.is_dir() else found.path.parent
    found.tokenizer = Tokenizer(find_tokenizer(folder, found.tokenizer_path))
    return check_tokenizer(found.tokenizer, found.config.model.vocab_size)


def _prompt(found: _Found) -> tuple[str, str]:
    needed, there = len(found.tokenizer.instruction_tokens(found.prompt)), found.config.model.max_token_len
    text = f"{needed} of {there} slots for {found.prompt!r}"
    return (WARNING, f"{text}: prompts of this length are cut off") if needed > there else (OK, text)


def _observation(found: _Found) -> tuple[str, str]:
    robot = found.config.robot
    keys = [*robot.images.values(), *(group.key for group in robot.state), "prompt"]
    return OK, f"{robot.name}: {', '.join(keys)}"


def _dimensions(found: _Found) -> tuple[str, str]:
    sizes = found.config.model
    return OK, (
        f"state {sizes.state_dim}, actions {sizes.action_dim}, {sizes.action_horizon} a chunk, "
        f"{found.config.open_loop_horizon} executed"
    )


def _memory(found: _Found) -> tuple[str, str]:
    return check_memory(found.parameters, found.device, found.dtype)


# Checks that read the weights


def _load(found: _Found) -> tuple[str, str]:
    begin = perf_counter()
    read_into(found.model, found.weights, found.path, found.device, found.dtype, to_theirs)
    seconds = perf_counter() - begin
    found.policy = OpenPiZeroPolicy(found.model, found.config, found.stats, found.tokenizer)
    return OK, f"all finite; loaded in {seconds:.1f} s"


def _inference(found: _Found) -> tuple[str, str]:
    rows, columns = np.mgrid[0:224, 0:224].astype(np.uint8)
    obs = {
        **found.config.robot.example_observation(),
        found.config.robot.cameras[0].key: np.stack([rows, columns, rows ^ columns], -1),
        "prompt": found.prompt,
    }
    obs[found.config.robot.state[0].key] = np.array([0.3, 0.0, 0.1, 1.0, 0.0, 0.0, 0.0, 1.0])
    noise = np.random.default_rng(0).standard_normal(found.policy.noise_shape).astype(np.float32)
    begin = perf_counter()
    actions = found.policy.infer(obs, noise)["actions"]
    seconds = perf_counter() - begin
    if not np.isfinite(actions).all():
        return FAILED, f"the actions hold NaN or infinity in {found.dtype}: try --dtype float32"
    return OK, f"actions {actions.min():.3g} to {actions.max():.3g} in {1e3 * seconds:.0f} ms"


_CHECKS: Steps[_Found] = {
    "files": _files,
    "weights": _weights,
    "constants": _constants,
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
    "load": ("weights", "statistics", "tokenizer", "memory"),
    "inference": ("load",),
}
