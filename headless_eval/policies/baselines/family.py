"""The baselines as a family of policies without weights and configurations."""

from pathlib import Path
from typing import Any

from headless_eval.errors import UserError
from headless_eval.policies.baselines import BASELINES, RandomPolicy, ZeroPolicy
from headless_eval.policies.options import LoadOptions
from headless_eval.policies.registry import FAMILIES


class Baselines:
    """The family of the baselines ``random`` and ``zero``."""

    configs: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    executions: tuple[str, ...] = ()
    float32_only = "it holds no torch model that could be rounded; run it at float32 only"

    @property
    def policies(self) -> tuple[str, ...]:
        """Return the names of the baselines."""
        return tuple(BASELINES)

    def about(self, name: str) -> str:
        """Return what a baseline is for."""
        return "any suite, as a baseline"

    def owns(self, folder: Path, config_file: Path | None = None) -> bool:
        """Return False, because baselines have no folders."""
        return False

    def read_config(self, folder: Path, name: str | None, file: Path | None, robot: str | None) -> Any:
        """Raise an error, because baselines have no configurations.

        Raises:
            UserError: always.
        """
        raise UserError("baselines have no configurations")

    def load(self, where: Path | str, options: LoadOptions) -> ZeroPolicy | RandomPolicy:
        """Return a baseline by its name.

        Raises:
            UserError: an option is given that baselines do not take, or the robot is unknown.
        """
        unused = (
            options.config,
            options.config_file,
            options.tokenizer,
            options.flow_steps,
            options.policy_args,
        )
        if any(unused) or (options.engine, options.execution) != ("auto", "simulated"):
            raise UserError(
                f"policy {where!r} has no configuration, tokenizer, arguments, flow steps or engine: leave them out"
            )
        return BASELINES[str(where)](options.robot)


FAMILIES.add("baselines", Baselines())
