"""The baselines as a family: policies by name alone, without weights or configurations."""

from pathlib import Path
from typing import Any

from headless_eval.errors import UserError
from headless_eval.policies.baselines import BASELINES, RandomPolicy, ZeroPolicy
from headless_eval.policies.registry import FAMILIES, LoadOptions


class Baselines:
    """Random and zero."""

    configs: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    executions: tuple[str, ...] = ()

    @property
    def policies(self) -> tuple[str, ...]:
        """Return their names."""
        return tuple(BASELINES)

    def owns(self, folder: Path, config_file: Path | None = None) -> bool:
        """Return False: no folder is a baseline."""
        return False

    def read_config(self, folder: Path, name: str | None, file: Path | None, robot: str | None) -> Any:
        """Refuse: there are no configurations.

        Raises:
            UserError: always.
        """
        raise UserError("baselines have no configurations")

    def load(self, where: Path | str, options: LoadOptions) -> ZeroPolicy | RandomPolicy:
        """Return a baseline by its name.

        Raises:
            UserError: an option is given that it has no use for, or the robot is unknown.
        """
        unused = options.config, options.config_file, options.tokenizer, options.flow_steps
        if any(unused) or (options.engine, options.execution) != ("auto", "simulated"):
            raise UserError(
                f"policy {where!r} has neither configuration, tokenizer, flow steps nor engine: leave them out"
            )
        return BASELINES[str(where)](options.robot)


FAMILIES.add("baselines", Baselines())
