"""openpi's PyTorch checkpoints, and ours, which have the same names: safetensors, in one file or several."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from headless_eval.checkpoints.safetensors_file import SHARD_BYTES, find_weights, save_shards
from headless_eval.checkpoints.stored import Stored
from headless_eval.policies.norm_stats import NormStats
from headless_eval.policies.pi0.config import PolicyConfig
from headless_eval.policies.pi0.formats import FORMATS
from headless_eval.policies.pi0.formats.lerobot import has_statistics, read_statistics
from headless_eval.policies.pi0.formats.named_safetensors import open_safetensors
from headless_eval.policies.pi0.formats.names import to_openpi


class OpenpiTorch:
    """``model.safetensors`` or its shards; statistics are in ``assets/``."""

    general = True

    def owns(self, folder: Path) -> bool:
        """Return True: plain safetensors have no marks of their own."""
        return True

    def describe(self, folder: Path) -> str:
        """Return whose folder it is: that of ``convert --to openpi`` has our configuration beside openpi's own."""
        ours = (folder / "config.toml").is_file() and not (folder / "config.json").is_file()
        return "headless-eval" if ours else "openpi (PyTorch)"

    def files(self, folder: Path) -> list[Path]:
        """Return the safetensors files."""
        return find_weights(folder)

    def open(self, folder: Path) -> dict[str, Stored]:
        """Return what the safetensors files hold, by our names."""
        return open_safetensors(folder)

    def their_name(self, name: str) -> str:
        """Return openpi's name of a parameter for ours."""
        return to_openpi(name)

    def statistics(self, folder: Path) -> dict[str, NormStats] | None:
        """Return those of LeRobot's processors, if their files are there; else statistics are in ``assets/``."""
        return read_statistics(folder) if has_statistics(folder) else None

    def config(self, folder: Path, robot: str | None) -> PolicyConfig | None:
        """Return None: openpi's folders state no configuration."""
        return None


FORMATS.add("openpi_torch", OpenpiTorch())


def save_weights(directory: Path, state: Mapping[str, Tensor], shard_bytes: int = SHARD_BYTES) -> list[Path]:
    """Write parameters (by our names) under openpi's names; see ``save_shards``."""
    return save_shards(directory, {to_openpi(name): tensor for name, tensor in state.items()}, shard_bytes)
