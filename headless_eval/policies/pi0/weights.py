"""Loading of a π0 model from stored parameters of any format."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from headless_eval.checkpoints.stored import Stored, check_fit, read_into
from headless_eval.errors import UserError
from headless_eval.policies.pi0.config import Pi0Config
from headless_eval.policies.pi0.model import Pi0


def build_model(
    config: Pi0Config,
    stored: Mapping[str, Stored],
    where: Path,
    device: torch.device,
    dtype: torch.dtype,
    their_name: Callable[[str], str],
) -> Pi0:
    """Read stored parameters into a new model of these sizes; the other arguments are those of ``read_into``.

    Raises:
        UserError: parameters are missing, unexpected, of the wrong shape, integers or not finite, or belong to the
            other model (π0 or π0.5).
    """
    _check_kind(stored, where, config)
    with torch.device("meta"):
        model = Pi0(config)
    read_into(model, stored, where, device, dtype, their_name)
    return model


def check_weights(
    stored: Mapping[str, Stored], config: Pi0Config, where: Path, their_name: Callable[[str], str]
) -> None:
    """Check only names and shapes; arguments and errors are those of ``build_model``."""
    _check_kind(stored, where, config)
    with torch.device("meta"):
        wanted = Pi0(config).state_dict()
    check_fit(stored, wanted, where, their_name)


def _check_kind(stored: Mapping[str, Stored], where: Path, config: Pi0Config) -> None:
    other = "action_time_mlp_in.weight" if config.pi05 else "time_mlp_in.weight"
    if other in stored:
        this, that = ("π0.5", "π0") if config.pi05 else ("π0", "π0.5")
        raise UserError(
            f"the weights in {where} are those of {that}, the configuration is of {this}: name another"
        )
