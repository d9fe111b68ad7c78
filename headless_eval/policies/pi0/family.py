"""The family of π0 and π0.5: recognises their folders, opens, checks and converts them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headless_eval.contracts.policy import Policy
from headless_eval.contracts.robots import ROBOTS
from headless_eval.errors import UserError
from headless_eval.policies.checks import Check
from headless_eval.policies.options import LoadOptions
from headless_eval.policies.pi0.config import CONFIGS, PolicyConfig, read_config
from headless_eval.policies.pi0.engine import ENGINES, EXECUTIONS
from headless_eval.policies.pi0.formats import FORMATS
from headless_eval.policies.registry import CONFIG, FAMILIES, family_named

if TYPE_CHECKING:
    from headless_eval.policies.pi0.model import Pi0


class Pi0Family:
    """Policies of openpi and LeRobot, and policies trained by headless-eval."""

    policies: tuple[str, ...] = ()
    engines = ENGINES
    executions = EXECUTIONS

    @property
    def configs(self) -> tuple[str, ...]:
        """Return the names of openpi's configurations and of the bundled policies' configurations."""
        return tuple(CONFIGS)

    def owns(self, folder: Path, config_file: Path | None = None) -> bool:
        """Return whether the place is a configuration that names no other family, or a folder of LeRobot."""
        file = folder / CONFIG if config_file is None else config_file
        if file.is_file():
            return family_named(file) in (None, "pi0")
        return any(one.owns(folder) for _, one in FORMATS.items() if not one.general)

    def read_config(
        self, folder: Path, name: str | None, file: Path | None, robot: str | None
    ) -> PolicyConfig:
        """Return a configuration by its name, from a file, or from the folder.

        Raises:
            UserError: the configuration cannot be read, or is for another robot than the named robot.
        """
        config = self._read(folder, name, file, robot)
        if robot is not None and config.observation != ROBOTS.find(robot).name:
            raise UserError(
                f"the configuration {config.name} is for the robot {config.observation}, not {robot}: name another"
            )
        return config

    def _read(self, folder: Path, name: str | None, file: Path | None, robot: str | None) -> PolicyConfig:
        if name is not None:
            return CONFIGS[name]
        if file is not None or (folder / CONFIG).is_file():
            return read_config(folder / CONFIG if file is None else file)
        stated = (one.config(folder, robot) for _, one in FORMATS.items() if one.owns(folder))
        found = next(filter(None, stated), None)
        if found is None:
            raise UserError(
                f"{folder} has no configuration: name one with --config NAME or --config-file FILE"
            )
        return found

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
        from headless_eval.policies.pi0.preflight import examine

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
        from headless_eval.policies.pi0.convert import convert

        return convert(source, target, config, tokenizer, to, dtype)

    def new_model(self, config: PolicyConfig) -> "Pi0":
        """Return a model of a configuration's sizes with the initial weights of training."""
        from headless_eval.policies.pi0.model import Pi0

        return Pi0(config.model)

    def new_policy(
        self, model: "Pi0", config: PolicyConfig, tokenizer: Path, engine: str, execution: str
    ) -> Policy:
        """Return a policy with a model that comes from no checkpoint, with plain statistics.

        Raises:
            UserError: the tokenizer does not fit the model, or the engine cannot be used on this machine.
        """
        from headless_eval.policies.norm_stats import plain_norm_stats
        from headless_eval.policies.paligemma.tokenizer import Tokenizer
        from headless_eval.policies.pi0.policy import Pi0Policy

        stats = plain_norm_stats({"state": config.robot.state_dims, "actions": config.action_dims})
        return Pi0Policy(model, config, stats, Tokenizer(tokenizer), engine, execution)

    def load(self, where: Path | str, options: LoadOptions) -> Policy:
        """Load a policy from its folder, after the preflight checks, which read no weights.

        Raises:
            UserError: a check fails, a file is missing or not valid, or the engine cannot be used on this machine.
        """
        from headless_eval.policies.pi0.policy import Pi0Policy
        from headless_eval.policies.pi0.preflight import preflight

        folder = Path(where)
        config = self.read_config(folder, options.config, options.config_file, options.robot)
        if options.flow_steps is not None:
            config = replace(config, model=replace(config.model, num_steps=options.flow_steps))
        opened = preflight(folder, config, options.tokenizer, options.device, options.dtype)
        return Pi0Policy.from_checkpoint(
            folder,
            config,
            device=options.device,
            dtype=options.dtype,
            engine=options.engine,
            execution=options.execution,
            opened=opened,
        )


FAMILIES.add("pi0", Pi0Family())
