"""Checkpoints of π0 and π0.5 in whatever format: their weights, statistics and configuration."""

from collections.abc import Callable
from pathlib import Path

import torch

from headless_eval.checkpoints.stored import Stored
from headless_eval.errors import UserError
from headless_eval.policies.norm_stats import NormStats, read_norm_stats
from headless_eval.policies.pi0.config import Pi0Config, PolicyConfig
from headless_eval.policies.pi0.formats import FORMATS, Format
from headless_eval.policies.pi0.formats.names import is_unread
from headless_eval.policies.pi0.model import Pi0
from headless_eval.policies.pi0.weights import build_model


def find_format(folder: Path) -> Format:
    """Return the format of a folder: the one whose marks are there, else the general one."""
    formats = [one for _, one in FORMATS.items()]
    special = [one for one in formats if not one.general and one.owns(folder)]
    return special[0] if special else next(one for one in formats if one.general)


def describe_format(folder: Path) -> tuple[str, list[Path]]:
    """Return what format a checkpoint's weights are in, and their files.

    Raises:
        UserError: a file is missing, or the folder holds weights in two formats.
    """
    found = find_format(folder)
    files = found.files(folder)
    return found.describe(folder), files


def their_name(folder: Path) -> Callable[[str], str]:
    """Return the function from our names of parameters to those of a checkpoint's format."""
    return find_format(folder).their_name


def open_weights(folder: Path, config: Pi0Config) -> dict[str, Stored]:
    """Return by our names what a checkpoint's weights hold that is read.

    Raises:
        UserError: a file is missing, truncated or of another kind; the folder holds weights in two formats.
    """
    stored = find_format(folder).open(folder)
    return {name: of for name, of in stored.items() if not is_unread(name, config)}


def load_model(config: Pi0Config, directory: Path, device: torch.device, dtype: torch.dtype) -> Pi0:
    """Read a model from a checkpoint, tensor by tensor, straight to its device and type.

    Parameters that openpi keeps but nothing uses are passed over.

    Raises:
        UserError: see ``open_weights`` and ``build_model``.
    """
    stored = open_weights(directory, config)
    return build_model(config, stored, directory, device, dtype, their_name(directory))


def find_norm_stats(directory: Path, config: PolicyConfig) -> dict[str, NormStats]:
    """Read a checkpoint's statistics: ``assets/<asset_id>/norm_stats.json``, or where its format keeps them.

    Raises:
        UserError: there are no statistics, or they do not fit the configuration.
    """
    file = directory / "assets" / config.asset_id / "norm_stats.json"
    stats = None if file.is_file() else find_format(directory).statistics(directory)
    if stats is None:
        others = sorted(
            str(path.parent.relative_to(directory / "assets"))
            for path in directory.glob("assets/**/norm_stats.json")
        )
        if others and not file.is_file():
            raise UserError(
                f"no normalisation statistics at {file}, but of {', '.join(others)}: choose the configuration of that "
                "robot, or set asset_id in a configuration file"
            )
        stats = read_norm_stats(file)
    check_norm_stats(stats, config)
    return stats


def check_norm_stats(stats: dict[str, NormStats], config: PolicyConfig) -> None:
    """Refuse statistics that do not fit a configuration.

    Raises:
        UserError: the statistics have another number of dimensions, or lack the quantiles that the configuration needs.
    """
    needed = {"state": config.robot.state_dims, "actions": config.action_dims}
    for kind, dims in needed.items():
        of = stats[kind]
        # openpi's oldest statistics cover the padding too.
        if len(of) not in (dims, config.model.action_dim):
            raise UserError(
                f"the normalisation statistics of {kind} have {len(of)} numbers, the robot {dims}: "
                "they are those of another robot"
            )
        if config.use_quantile_norm and (of.q01 is None or of.q99 is None):
            raise UserError(
                f"the normalisation statistics of {kind} hold no quantiles (q01, q99), which configuration "
                f"{config.name!r} needs"
            )
