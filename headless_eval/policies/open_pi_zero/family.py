"""The family of open-pi-zero: recognises its files and folders, opens, checks and converts them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headless_eval.contracts.policy import Policy
from headless_eval.contracts.robots import ROBOTS
from headless_eval.errors import UserError
from headless_eval.policies.checks import Check
from headless_eval.policies.open_pi_zero.config import CONFIGS, FAMILY, PolicyConfig, read_config
from headless_eval.policies.options import LoadOptions
from headless_eval.policies.registry import CONFIG, FAMILIES, family_named

if TYPE_CHECKING:
    from headless_eval.policies.open_pi_zero.model import OpenPiZero


class OpenPiZeroFamily:
    """Policies of open-pi-zero for BridgeData's and Fractal's robots, and policies trained by headless-eval."""

    policies: tuple[str, ...] = ()
    engines = ("auto", "eager", "compiled")
    executions = ("simulated",)

    @property
    def configs(self) -> tuple[str, ...]:
        """Return the names of the configurations of the published checkpoints and of the small policies."""
        return tuple(CONFIGS)

    def owns(self, folder: Path, config_file: Path | None = None) -> bool:
        """Return whether a file with a configuration names this family."""
        file = folder / CONFIG if config_file is None else config_file
        return file.suffix == ".toml" and family_named(file) == FAMILY

    def read_config(
        self, folder: Path, name: str | None, file: Path | None, robot: str | None
    ) -> PolicyConfig:
        """Return a configuration by its name, from a file, or from the folder.

        Raises:
            UserError: the configuration cannot be read, or is for another robot than the named robot.
        """
        config = CONFIGS[name] if name is not None else read_config(file or folder / CONFIG)
        if robot is not None and config.observation != ROBOTS.find(robot).name:
            raise UserError(
                f"the configuration {config.name} is for the robot {config.observation}, not {robot}: name another"
            )
        return config

    def examine(
        self,
        folder: Path,
        config: PolicyConfig,
        tokenizer: Path | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        prompt: str | None = None,
    ) -> Iterator[Check]:
        """Check a checkpoint, its weights included; see ``preflight.examine``."""
        from headless_eval.policies.open_pi_zero.preflight import examine

        return examine(folder, config, tokenizer, device, dtype, prompt)

    def convert(
        self,
        source: Path,
        target: Path,
        config: PolicyConfig,
        tokenizer: Path | None = None,
        to: str = "headless-eval",
        dtype: str = "float32",
    ) -> Iterator[str]:
        """Write a checkpoint in another format; see ``convert.convert``."""
        from headless_eval.policies.open_pi_zero.convert import convert

        return convert(source, target, config, tokenizer, to, dtype)

    def new_model(self, config: PolicyConfig) -> "OpenPiZero":
        """Return a model of a configuration's sizes with the initial weights of training."""
        from headless_eval.policies.open_pi_zero.model import OpenPiZero

        return OpenPiZero(config.model)

    def new_policy(
        self, model: "OpenPiZero", config: PolicyConfig, tokenizer: Path, engine: str, execution: str
    ) -> Policy:
        """Return a policy with a model that comes from no checkpoint, with plain statistics.

        Raises:
            UserError: the tokenizer does not fit the model, or the engine cannot be used on this machine.
        """
        from headless_eval.policies.norm_stats import plain_norm_stats
        from headless_eval.policies.open_pi_zero.policy import OpenPiZeroPolicy
        from headless_eval.policies.paligemma.tokenizer import Tokenizer

        stats = plain_norm_stats({"state": config.model.state_dim, "actions": config.action_dims})
        return OpenPiZeroPolicy(model, config, stats, Tokenizer(tokenizer), engine, execution)

    def load(self, where: Path | str, options: LoadOptions) -> Policy:
        """Load a policy from a ``.pt`` file or a folder, after the preflight checks, which read no weights.

        Raises:
            UserError: a check fails, a file is missing or not valid, or the engine cannot be used on this machine.
        """
        from headless_eval.policies.open_pi_zero.policy import OpenPiZeroPolicy
        from headless_eval.policies.open_pi_zero.preflight import preflight

        path = Path(where)
        config = self.read_config(path, options.config, options.config_file, options.robot)
        if options.flow_steps is not None:
            config = replace(config, model=replace(config.model, num_steps=options.flow_steps))
        opened = preflight(path, config, options.tokenizer, options.device, options.dtype)
        return OpenPiZeroPolicy.from_stored(
            opened.weights,
            path,
            config,
            opened.norm_stats,
            opened.tokenizer,
            options.device,
            options.dtype,
            options.engine,
            options.execution,
        )


FAMILIES.add(FAMILY, OpenPiZeroFamily())
