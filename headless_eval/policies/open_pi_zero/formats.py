"""Weight files of open-pi-zero: ``.pt`` files, or safetensors files with the same names."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from headless_eval.checkpoints.safetensors_file import SafetensorsFile, find_weights, save_shards
from headless_eval.checkpoints.stored import Stored, check_fit, read_into
from headless_eval.checkpoints.torch_file import TorchFile
from headless_eval.errors import UserError
from headless_eval.policies.norm_stats import NormStats, read_norm_stats, write_norm_stats
from headless_eval.policies.open_pi_zero.config import PolicyConfig
from headless_eval.policies.open_pi_zero.model import OpenPiZero
from headless_eval.policies.open_pi_zero.names import (
    ACTION_STREAM,
    STATE_STREAM,
    is_unread,
    plain,
    to_ours,
    to_theirs,
)

_PUBLISHED = Path(__file__).parent / "statistics"


def describe_format(path: Path) -> tuple[str, list[Path]]:
    """Return the format and the files of a checkpoint's weights.

    Raises:
        UserError: the folder holds no weights.
    """
    return ("open-pi-zero", [path]) if path.is_file() else ("headless-eval", find_weights(path))


def open_weights(path: Path, config: PolicyConfig) -> dict[str, Stored]:
    """Return a checkpoint's stored parameters that the model uses, by the model's own names.

    Raises:
        UserError: a file is missing, truncated, of another kind or contains code; or a parameter that is stored twice
            differs.
    """
    stored = _open_file(path) if path.is_file() else _open_folder(path)
    return {name: of for name, of in stored.items() if not is_unread(name, config.model)}


def _open_folder(folder: Path) -> dict[str, Stored]:
    return {
        to_ours(name): Stored(name, shape, file.source(name))
        for file in map(SafetensorsFile, find_weights(folder))
        for name, shape in file.shapes.items()
    }


def _open_file(path: Path) -> dict[str, Stored]:
    file = TorchFile(path)
    named: dict[str, str] = {}
    for theirs in file.shapes:
        if named.setdefault(plain(theirs), theirs) != theirs:
            raise UserError(f"{path} holds {plain(theirs)} twice: copy it again")
    _check_duplicates(file, named)
    return {
        to_ours(name): Stored(name, file.shapes[theirs], file.source(theirs))
        for name, theirs in named.items()
        if not name.startswith(STATE_STREAM)
    }


def _check_duplicates(file: TorchFile, named: Mapping[str, str]) -> None:
    """Check that the state's stream, which is the actions' module, holds the same numbers."""
    for name, theirs in named.items():
        if not name.startswith(STATE_STREAM):
            continue
        other = named.get(ACTION_STREAM + name.removeprefix(STATE_STREAM))
        if other is None or file.same_place(theirs, other):
            continue
        if file.shapes[theirs] != file.shapes[other] or not torch.equal(
            file.source(theirs).read(), file.source(other).read()
        ):
            raise UserError(
                f"{file.path} holds {name} and {plain(other)} as two different tensors: open-pi-zero has one module "
                "for both, so this is a checkpoint of something else"
            )


def check_weights(path: Path, config: PolicyConfig) -> None:
    """Check only names and shapes.

    Raises:
        UserError: the same as for ``open_weights``; or the weights do not fit the configuration.
    """
    with torch.device("meta"):
        wanted = OpenPiZero(config.model).state_dict()
    check_fit(open_weights(path, config), wanted, path, to_theirs)


def load_model(config: PolicyConfig, path: Path, device: torch.device, dtype: torch.dtype) -> OpenPiZero:
    """Read a model from a checkpoint, tensor by tensor, directly to its device and type.

    Raises:
        UserError: the same as for ``open_weights``; or parameters are missing, unexpected, of the wrong shape or not
            finite.
    """
    with torch.device("meta"):
        model = OpenPiZero(config.model)
    read_into(model, open_weights(path, config), path, device, dtype, to_theirs)
    return model


def save_weights(folder: Path, state: Mapping[str, Tensor]) -> list[Path]:
    """Write parameters (by our names) under open-pi-zero's names; see ``save_shards``."""
    return save_shards(folder, {to_theirs(name): tensor for name, tensor in state.items()})


def find_norm_stats(path: Path, config: PolicyConfig) -> dict[str, NormStats]:
    """Return a checkpoint's statistics: the folder's own, else those of the published data set.

    Raises:
        UserError: the statistics are missing or do not fit the configuration.
    """
    folder = path if path.is_dir() else path.parent
    beside = folder / "assets" / config.asset_id / "norm_stats.json"
    published = _PUBLISHED / f"{config.asset_id}.json"
    stats = read_norm_stats(published if published.is_file() and not beside.is_file() else beside)
    check_norm_stats(stats, config)
    return stats


def check_norm_stats(stats: Mapping[str, NormStats], config: PolicyConfig) -> None:
    """Check that statistics belong to this robot and have quantiles.

    Raises:
        UserError: the statistics belong to another robot, or have no quantiles.
    """
    for kind, dims in (("state", config.model.state_dim), ("actions", config.model.action_dim)):
        of = stats[kind]
        if len(of) != dims:
            raise UserError(
                f"the normalisation statistics of {kind} have {len(of)} numbers, the robot {dims}: "
                "they are those of another robot"
            )
        if of.q01 is None or of.q99 is None:
            raise UserError(f"the normalisation statistics of {kind} hold no quantiles (q01, q99)")


def save_norm_stats(folder: Path, config: PolicyConfig, stats: Mapping[str, NormStats]) -> None:
    """Write statistics to the path that ``find_norm_stats`` reads."""
    write_norm_stats(folder / "assets" / config.asset_id / "norm_stats.json", stats)
