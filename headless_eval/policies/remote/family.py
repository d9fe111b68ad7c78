"""Policies on a server as a family: those whose name is an address, ``ws://host:port`` or ``wss://host:port``."""

from pathlib import Path
from typing import Any

from headless_eval.errors import UserError
from headless_eval.policies.options import LoadOptions
from headless_eval.policies.registry import FAMILIES
from headless_eval.policies.remote.connection import SCHEMES, check_address
from headless_eval.policies.remote.policy import RemotePolicy


class Remote:
    """The family of policies on a server."""

    policies: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    executions: tuple[str, ...] = ()
    schemes = tuple(f"{scheme}://" for scheme in SCHEMES)
    float32_only = (
        "the weights are on a server, which computes at a precision of its own (headless-eval serve --dtypes "
        "offers any); name float32 here, which stands for the server as it is"
    )

    def owns(self, folder: Path, config_file: Path | None = None) -> bool:
        """Return False, because policies on a server have no folders."""
        return False

    def read_config(self, folder: Path, name: str | None, file: Path | None, robot: str | None) -> Any:
        """Raise an error, because the configuration is on the server.

        Raises:
            UserError: always.
        """
        raise UserError("a policy on a server has its configuration there")

    def load(self, where: Path | str, options: LoadOptions) -> RemotePolicy:
        """Connect to a server.

        Raises:
            UserError: the address is malformed, there is no such server, or an option is given that is the server's.
        """
        address = str(where)
        check_address(address)
        theirs = {
            "configuration": options.config or options.config_file,
            "tokenizer": options.tokenizer,
            "flow steps": options.flow_steps,
            "engine": (options.engine, options.execution) != ("auto", "simulated"),
            "device": options.device != "cpu",
            "type of weights": options.dtype != "float32",
        }
        if given := [name for name, value in theirs.items() if value]:
            raise UserError(
                f"{', '.join(given)} of the policy {address} are its server's: leave the flags out here"
            )
        return RemotePolicy(address, options.robot)


FAMILIES.add("remote", Remote())
