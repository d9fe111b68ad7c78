"""The family of LeRobot's policies: recognises their folders, and loads them by LeRobot's own code."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from headless_eval.checkpoints.locate import find_checkpoint
from headless_eval.errors import UserError
from headless_eval.policies.checks import FAILED, OK, Check
from headless_eval.policies.lerobot.config import (
    FAMILY,
    OUR_READERS,
    POSTPROCESSOR,
    LeRobotConfig,
    read_config,
    read_processor,
    stated_type,
)
from headless_eval.policies.options import LoadOptions
from headless_eval.policies.registry import CONFIG, FAMILIES, family_named

if TYPE_CHECKING:
    from headless_eval.policies.lerobot.policy import LeRobotPolicy

SCHEME = "lerobot:"
"""Begins the text of ``--policy`` that names a folder for LeRobot's own code, whatever its type."""


class LeRobotFamily:
    """Policies in folders of LeRobot's ``save_pretrained``, except π0 and π0.5, which ``pi0`` reads."""

    policies: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    executions: tuple[str, ...] = ()
    schemes = (SCHEME,)

    def owns(self, folder: Path, config_file: Path | None = None) -> bool:
        """Return whether a TOML file names this family, or ``config.json`` a type that no other family reads."""
        file = folder / CONFIG if config_file is None else config_file
        if file.is_file():
            return file.suffix == ".toml" and family_named(file) == FAMILY
        return stated_type(folder) not in (None, *OUR_READERS)

    def read_config(
        self, folder: Path, name: str | None, file: Path | None, robot: str | None
    ) -> LeRobotConfig:
        """Return what a folder states; see ``config.read_config``."""
        return read_config(folder, file, robot)

    def examine(
        self,
        folder: Path,
        config: LeRobotConfig,
        tokenizer: Path | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        prompt: str | None = None,
    ) -> Iterator[Check]:
        """Check a folder, for the command ``doctor``: its features, LeRobot's package, then loading the whole."""
        seen = [f"{name} from {key}" for name, key in config.cameras.items()]
        seen += ["observation.state"] if config.state else []
        yield Check("features", OK, f"robot {config.robot}; {', '.join(seen)}")
        try:
            read_processor(folder, POSTPROCESSOR)
            policy = self._load(config, LoadOptions(device=device, dtype=dtype))
        except UserError as error:
            yield Check("loading", FAILED, str(error))
            return
        yield Check("loading", OK, f"{config.type} by LeRobot {policy.version}, {policy.way}")

    def load(self, where: Path | str, options: LoadOptions) -> "LeRobotPolicy":
        """Load a policy from its folder, or from ``lerobot:DIR``; ``DIR`` may be a cached hub id, too.

        Raises:
            UserError: a file is missing or not valid, LeRobot is missing or does not know the type, or an option does
                not apply.
        """
        folder = find_checkpoint(str(where).removeprefix(SCHEME))
        return self._load(read_config(folder, options.config_file, options.robot), options)

    def _load(self, config: LeRobotConfig, options: LoadOptions) -> "LeRobotPolicy":
        if options.tokenizer is not None or (options.engine, options.execution) != ("auto", "simulated"):
            raise UserError(
                "LeRobot's policies bring their own tokenizer and have one engine: leave out --tokenizer, --engine "
                "and --execution"
            )
        if options.dtype != "float32":
            raise UserError(
                f"the weights of LeRobot's policies keep the types that they were saved in, not {options.dtype}: "
                "leave the type out, and name the precision with --dtypes"
            )
        from headless_eval.policies.lerobot.policy import open_policy

        return open_policy(config, options.device, options.flow_steps)


FAMILIES.add(FAMILY, LeRobotFamily())
