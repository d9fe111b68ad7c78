"""Checkpoint formats of π0 and π0.5: one file a format, which registers itself in ``FORMATS``."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from headless_eval.contracts.registry import Registry

if TYPE_CHECKING:
    from headless_eval.checkpoints.stored import Stored
    from headless_eval.policies.norm_stats import NormStats
    from headless_eval.policies.pi0.config import PolicyConfig


class Format(Protocol):
    """A layout of folders that hold a checkpoint.

    Attributes:
        general: whether it owns any folder that no other format owns.
    """

    general: bool

    def owns(self, folder: Path) -> bool:
        """Return whether a folder's weights are in this format."""
        ...

    def describe(self, folder: Path) -> str:
        """Return what to call the format of this folder."""
        ...

    def files(self, folder: Path) -> list[Path]:
        """Return the files of the weights.

        Raises:
            UserError: a file is missing, or the folder holds weights in two formats.
        """
        ...

    def open(self, folder: Path) -> "dict[str, Stored]":
        """Return what the weights hold, by our names of parameters.

        Raises:
            UserError: a file is missing, truncated or of another kind; the folder holds weights in two formats.
        """
        ...

    def their_name(self, name: str) -> str:
        """Return the format's name of a parameter for ours."""
        ...

    def statistics(self, folder: Path) -> "dict[str, NormStats] | None":
        """Return the normalisation statistics where the format keeps them in a way of its own; else None.

        Raises:
            UserError: the statistics are missing or malformed.
        """
        ...

    def config(self, folder: Path, robot: str | None) -> "PolicyConfig | None":
        """Return the configuration that the folder states in the format's way; None where it states nothing.

        Raises:
            UserError: the configuration is malformed, or does not tell the robot and ``robot`` is None.
        """
        ...


FORMATS: Registry[Format] = Registry("checkpoint format", __name__)
