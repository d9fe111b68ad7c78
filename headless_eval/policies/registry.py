"""Registry of policies and families: bundled policies by name, others by folder or checkpoint. Imports no torch."""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from headless_eval.checkpoints.locate import find_checkpoint, is_hub_id
from headless_eval.contracts.registry import Registry
from headless_eval.errors import UserError
from headless_eval.policies.options import LoadOptions
from headless_eval.policies.trained_on import TrainedOn, read_trained_on
from headless_eval.shared.suggest import unknown
from headless_eval.shared.untrusted import read_table

DEFAULT = "pi0-droid-tiny"
"""The policy of commands without a suite, and of suites without a policy of their own."""

BUNDLED = Path(__file__).parent / "bundled"
CONFIG = "config.toml"
"""The file with a policy's configuration in its folder."""


class Brought(NamedTuple):
    """A policy whose code is not this package's; a family's ``load`` may return it.

    Args:
        policy: the policy.
        origin: what a run's manifest says of its code: ``origin``, ``code`` (hashes by file); JSON types only.
    """

    policy: Any
    origin: dict[str, Any]


class Family(Protocol):
    """A family of policies that share code: one folder, whose ``family.py`` adds it to ``FAMILIES``.

    The module imports no torch before a policy is opened. A family may also have ``examine`` and ``convert``, for the
    commands doctor and convert, and ``new_model`` and ``new_policy``, for measuring models with random weights; see
    ``pi0.family``. A family whose policies are found by other texts than names and folders has ``schemes``, what these
    texts begin with, or ``claims(text)``, which says so of a text; and may have ``absolute(text)``, the text that leads
    to the same policy from any folder. ``about(name)`` describes one of ``policies`` in a few words. ``float32_only``
    says of a family without weights in this process why its policies take no precision.
    """

    @property
    def policies(self) -> Sequence[str]:
        """Return the names of policies that need neither weights nor a folder."""
        ...

    @property
    def configs(self) -> Sequence[str]:
        """Return the names of the family's configurations for checkpoints."""
        ...

    @property
    def engines(self) -> Sequence[str]:
        """Return the names of the family's engines, including names that choose among engines."""
        ...

    @property
    def executions(self) -> Sequence[str]:
        """Return the executions of a precision that the engines support."""
        ...

    def owns(self, folder: Path, config_file: Path | None = None) -> bool:
        """Return whether a folder, or a file with a configuration, belongs to this family."""
        ...

    def read_config(self, folder: Path, name: str | None, file: Path | None, robot: str | None) -> Any:
        """Return a checkpoint's configuration; arguments and errors as of ``find_config``."""
        ...

    def load(self, where: Path | str, options: LoadOptions) -> Any:
        """Load a policy from a folder, or by a name of ``policies`` or a text that it claims; ``LocalPolicy`` wraps it.

        Code that is not this package's is told of by returning it as ``Brought``.

        Raises:
            UserError: a file is missing or not valid, or an option does not apply to this policy.
        """
        ...


FAMILIES: Registry[Family] = Registry("policy family", "headless_eval.policies", module="family")


def list_policies() -> list[str]:
    """Return the names that ``load_policy`` knows: bundled policies, then those that need no weights."""
    bundled = sorted(path.parent.name for path in BUNDLED.glob(f"*/{CONFIG}"))
    return [*bundled, *(name for _, family in FAMILIES.items() for name in family.policies)]


def list_configs() -> list[str]:
    """Return the names of all configurations."""
    return [name for _, family in FAMILIES.items() for name in family.configs]


def trained_policies() -> dict[str, TrainedOn]:
    """Return the training tasks of the bundled policies, by the policies' names."""
    stated = {name: read_trained_on(BUNDLED / name) for name in list_policies()}
    return {name: trained_on for name, trained_on in stated.items() if trained_on is not None}


def default_policy(suite: str) -> str:
    """Return the name of the bundled policy that was trained on the whole of a suite; without one, ``DEFAULT``."""
    whole = (name for name, trained_on in trained_policies().items() if trained_on == TrainedOn(suite))
    return next(whole, DEFAULT)


def open_policy(
    policy: str | Path, checkpoint: str | Path | None, options: LoadOptions
) -> tuple[Brought, str]:
    """Load a policy; return it with the origin of its code (empty for this package's), and its name.

    Raises:
        UserError: the same as for ``load_policy``.
    """
    if checkpoint is None and (family := find_claimant(policy)):
        where: Path | str = str(policy)
        name = str(policy)
    else:
        where, name = find_policy(policy, checkpoint)
        family = find_family(where, options.config, options.config_file)
    loaded = family.load(where, options)
    return loaded if isinstance(loaded, Brought) else Brought(loaded, {}), name


def find_claimant(policy: str | Path) -> Family | None:
    """Return the family that knows a policy by a name or a text of its own; None: ``policy`` has to be a folder."""
    text = str(policy)
    families = [family for _, family in FAMILIES.items()]
    # A scheme is more than what merely looks like a place in code.
    by_scheme = [family for family in families if text.startswith(getattr(family, "schemes", ()))]
    by_claim = [family for family in families if hasattr(family, "claims") and family.claims(text)]
    by_name = [family for family in families if text in family.policies]
    return next(iter([*by_name, *by_scheme, *by_claim]), None)


def about_policy(name: str) -> str:
    """Return what a family says of a policy that needs no folder; empty if it says nothing."""
    about = getattr(find_claimant(name), "about", None)
    return about(name) if about is not None else ""


def absolute_policy(policy: str) -> str:
    """Return the text that leads to the same policy from any folder; names stay as they are."""
    absolute = getattr(find_claimant(policy), "absolute", None)
    if absolute is not None:
        return str(absolute(policy))
    is_folder = policy not in list_policies() and Path(policy).is_dir()
    return str(Path(policy).resolve()) if is_folder else policy


def trained_on(policy: str | Path, checkpoint: str | Path | None = None) -> TrainedOn | None:
    """Return the training tasks of a policy in a folder; None if it does not list them, or has no folder.

    Raises:
        UserError: the policy or the checkpoint does not exist, or its list is malformed.
    """
    if checkpoint is None and find_claimant(policy) is not None:
        return None
    return read_trained_on(find_policy(policy, checkpoint)[0])


def float32_only(policy: str | Path) -> str | None:
    """Return why a policy can be run at float32 only; None: it has weights here, or it does not exist."""
    reason = getattr(find_claimant(policy), "float32_only", None)
    return None if reason is None else str(reason)


def family_named(file: Path) -> str | None:
    """Return the family that a configuration, TOML or JSON, names; None: it names no family, or cannot be read."""
    try:
        family = read_table(file).get("family")
    except (OSError, ValueError):
        return None
    return family if isinstance(family, str) else None


def check_engine(engine: str, execution: str) -> None:
    """Refuse names of engines and executions that no family has.

    Raises:
        UserError: the engine or the execution is unknown; the message names the nearest.
    """
    families = [family for _, family in FAMILIES.items()]
    engines = list(dict.fromkeys(name for family in families for name in family.engines))
    executions = list(dict.fromkeys(name for family in families for name in family.executions))
    for what, name, known in (("engine", engine, engines), ("execution", execution, executions)):
        if name not in known:
            raise unknown(what, name, known)


def find_policy(policy: str | Path, checkpoint: str | Path | None = None) -> tuple[Path, str]:
    """Return the folder and the name of a policy or, if given, of a checkpoint.

    Raises:
        UserError: the policy or the checkpoint does not exist, or both are given.
    """
    if checkpoint is None:
        return _find_folder(policy)
    if str(policy) != DEFAULT:
        raise UserError(
            f"a policy ({policy}) and a checkpoint ({checkpoint}) are both given: leave out one of them"
        )
    folder = find_checkpoint(checkpoint)
    return folder, folder.resolve().name


def _find_folder(policy: str | Path) -> tuple[Path, str]:
    bundled = BUNDLED / policy
    if str(policy) in list_policies():
        return bundled, str(policy)
    folder = Path(policy)
    if folder.is_dir():
        return folder, folder.resolve().name
    if folder.suffix == ".py" and folder.is_file():
        raise UserError(
            f"policy {str(policy)!r} is a file of Python: add the class or function in it that makes the policy "
            f"({policy}:{_first_definition(folder)})"
        )
    if folder.exists():
        raise UserError(f"policy {str(policy)!r} is a file: name the folder that holds it")
    if str(policy) in list_configs():
        raise UserError(
            f"{str(policy)!r} is a configuration whose weights are not bundled: give a checkpoint's folder with it "
            f"(--checkpoint DIR --config {policy})"
        )
    if is_hub_id(str(policy)):
        raise UserError(f"unknown policy {str(policy)!r}: if it is a hub id, write --checkpoint {policy}")
    error = unknown("policy", str(policy), list_policies())
    raise UserError(
        f"{error}; a folder; ws://HOST:PORT; or your own, as module:attribute or ./file.py:attribute"
    )


def _first_definition(file: Path) -> str:
    """Return the name of the first public class or function of a file, which is not run; ``NAME`` if it has none."""
    try:
        nodes = ast.parse(file.read_bytes()).body
    except (OSError, ValueError, SyntaxError):
        return "NAME"
    names = [node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return next((name for name in names if not name.startswith("_")), "NAME")


def find_family(folder: Path, name: str | None = None, file: Path | None = None) -> Family:
    """Return the family of a checkpoint, found by the configuration's name or file, or by the folder.

    Raises:
        UserError: the configuration or the file does not exist, a name and a file are both given, the name belongs to
            other weights than the bundled weights, or no family recognises the folder.
    """
    families = [family for _, family in FAMILIES.items()]
    if name is not None and file is not None:
        raise UserError("config and config_file both given: a policy has one configuration")
    if name is not None:
        found = [family for family in families if name in family.configs]
        if not found:
            raise unknown("config", name, list_configs())
        if folder.parent == BUNDLED and name != folder.name:
            raise UserError(
                f"the configuration {name} is not that of the bundled policy {folder.name}: give the checkpoint that "
                "has it, too (--checkpoint DIR)"
            )
        return found[0]
    if file is not None and not file.is_file():
        raise UserError(f"no configuration at {file}: it has to be a TOML or JSON file")
    for family in families:
        if family.owns(folder, file):
            return family
    raise UserError(
        f"{folder} has no configuration ({folder / CONFIG} is missing): name one with --config NAME or "
        "--config-file FILE"
    )


def find_config(
    folder: Path, name: str | None = None, file: Path | None = None, robot: str | None = None
) -> Any:
    """Return a checkpoint's configuration by name, from a file, or from the folder.

    Args:
        folder: the checkpoint's folder.
        name: the name of a known configuration.
        file: a file with a configuration.
        robot: the name of the policy's robot, if the checkpoint does not name it.

    Raises:
        UserError: the same as for ``find_family``; or the configuration cannot be read or is for another robot.
    """
    return find_family(folder, name, file).read_config(folder, name, file, robot)
