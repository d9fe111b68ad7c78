"""LeRobot's folders of π0 and π0.5: openpi's weights after ``model.``, statistics beside the processors.

``config.json`` says what the policy is; ``policy_preprocessor*.safetensors`` and ``policy_postprocessor*`` hold
the statistics as ``observation.state.mean``, ``action.q99`` and so on.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headless_eval.checkpoints.safetensors_file import SafetensorsFile, find_weights
from headless_eval.checkpoints.stored import Stored
from headless_eval.errors import UserError
from headless_eval.policies.norm_stats import NormStats, make_norm_stats
from headless_eval.policies.paligemma.config import GEMMA_2B, GEMMA_300M, GemmaConfig, SiglipConfig
from headless_eval.policies.pi0.config import PI0, PI05, Pi0Config, PolicyConfig
from headless_eval.policies.pi0.formats import FORMATS
from headless_eval.policies.pi0.formats.named_safetensors import open_safetensors
from headless_eval.policies.pi0.formats.names import to_openpi
from headless_eval.policies.stated_features import find_robot
from headless_eval.shared.untrusted import read_json

_MODELS = {"pi0": PI0, "pi05": PI05}
_VARIANTS = {"gemma_2b": GEMMA_2B, "gemma_300m": GEMMA_300M}
_QUANTILES = {"MEAN_STD": False, "QUANTILES": True}
_EPSILON = 1e-8  # what LeRobot adds to a deviation; openpi adds 1e-6


def is_lerobot(directory: Path) -> bool:
    """Say whether a folder is one of LeRobot's, with a π0 or π0.5."""
    kind = _config(directory).get("type")
    return isinstance(kind, str) and kind in _MODELS


def has_statistics(directory: Path) -> bool:
    """Say whether LeRobot's statistics lie in the folder."""
    return bool(_files(directory, "preprocessor"))


def read_statistics(directory: Path) -> dict[str, NormStats]:
    """Read the statistics of states from the preprocessor's files and those of actions from the postprocessor's.

    Raises:
        UserError: the statistics are missing or malformed.
    """
    before = _table(directory, "preprocessor")
    after = _table(directory, "postprocessor") or before
    table = {"state": before.get("observation.state"), "actions": after.get("action")}
    missing = [name for name, of in table.items() if not of]
    if missing:
        raise UserError(
            f"the processors' files in {directory} hold no normalisation statistics of {' and '.join(missing)}: "
            "without them every action would be wrong; copy policy_preprocessor* and policy_postprocessor*"
        )
    lists: Any = table
    return {
        kind: NormStats(of.mean, of.std, of.q01, of.q99, _EPSILON)
        for kind, of in make_norm_stats(lists).items()
    }


def read_lerobot_config(directory: Path, robot: str | None = None) -> PolicyConfig:
    """Make a configuration from LeRobot's ``config.json``.

    Args:
        directory: that holds it.
        robot: the name of the robot that the checkpoint is for; None: the only one that has its features.

    Raises:
        UserError: the file describes something that this package does not know; no known robot has its features, or
            several have and none is named; the robot named has others.
    """
    path, said = directory / "config.json", _config(directory)
    try:
        base = _MODELS[said["type"]]
        pi05 = base.pi05
        action_dims = said["output_features"]["action"]["shape"][0]
        modes = {said["normalization_mapping"][kind] for kind in ("STATE", "ACTION")}
        model = Pi0Config(
            pi05=pi05,
            action_horizon=said["chunk_size"],
            action_dim=said["max_action_dim"],
            max_token_len=said.get("tokenizer_max_length", base.max_token_len),
            discrete_state_input=pi05,
            num_steps=said.get("num_inference_steps", base.num_steps),
            gemma=_variant(said.get("paligemma_variant", "gemma_2b"), path),
            expert=_variant(said.get("action_expert_variant", "gemma_300m"), path),
            siglip=_siglip(said, base.siglip),
        )
        if len(modes) != 1 or not modes <= set(_QUANTILES):
            raise UserError(
                f"{path} normalises by {' and '.join(sorted(modes))}: known are {', '.join(_QUANTILES)}"
            )
        found = find_robot(said, path, robot)
        relative = bool(said.get("use_relative_actions"))
        return PolicyConfig(
            name=directory.resolve().name,
            model=model,
            observation=found.name,
            use_quantile_norm=_QUANTILES[modes.pop()],
            asset_id=found.name,
            open_loop_horizon=min(said["n_action_steps"], said["chunk_size"]),
            action_dims=action_dims,
            delta_actions_mask=found.delta_actions_mask if relative else None,
        )
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is no configuration of LeRobot's π0 or π0.5 ({error!r})") from None


def _variant(name: str, path: Path) -> GemmaConfig:
    if name not in _VARIANTS:
        raise UserError(f"{path} names the Gemma variant {name!r}: known are {', '.join(_VARIANTS)}")
    return _VARIANTS[name]


def _siglip(said: Mapping[str, Any], base: SiglipConfig) -> SiglipConfig:
    height, width = said.get("image_resolution", (base.image_size, base.image_size))
    if (height, width) != (base.image_size, base.image_size):
        raise ValueError(f"image_resolution {height} x {width}")
    return base


def _config(directory: Path) -> dict[str, Any]:
    try:
        said = read_json(directory / "config.json")
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _files(directory: Path, processor: str) -> list[Path]:
    return sorted(directory.glob(f"policy_{processor}*.safetensors"))


def _table(directory: Path, processor: str) -> dict[str, dict[str, list[float]]]:
    table: dict[str, dict[str, list[float]]] = {}
    for path in _files(directory, processor):
        file = SafetensorsFile(path)
        for name in file.shapes:
            feature, _, statistic = name.rpartition(".")
            if feature in ("observation.state", "action") and statistic in ("mean", "std", "q01", "q99"):
                values = file.source(name).read().double().reshape(-1)
                table.setdefault(feature, {})[statistic] = values.tolist()
    return table


class LeRobot:
    """openpi's names after ``model.``; configuration in ``config.json``, statistics beside the processors."""

    general = False

    def owns(self, folder: Path) -> bool:
        """Return whether ``config.json`` names a π0 or π0.5 and no JAX arrays are there."""
        return is_lerobot(folder) and not (folder / "params").is_dir()

    def describe(self, folder: Path) -> str:
        """Return the format's name."""
        return "LeRobot"

    def files(self, folder: Path) -> list[Path]:
        """Return the safetensors files of the weights."""
        return find_weights(folder)

    def open(self, folder: Path) -> dict[str, Stored]:
        """Return what the safetensors files hold, by our names."""
        return open_safetensors(folder)

    def their_name(self, name: str) -> str:
        """Return openpi's name of a parameter for ours, which LeRobot has too."""
        return to_openpi(name)

    def statistics(self, folder: Path) -> dict[str, NormStats]:
        """Return the statistics in the processors' files."""
        return read_statistics(folder)

    def config(self, folder: Path, robot: str | None) -> PolicyConfig:
        """Return the configuration in ``config.json``."""
        return read_lerobot_config(folder, robot)


FORMATS.add("lerobot", LeRobot())
