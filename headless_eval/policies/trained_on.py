"""Training tasks of a policy: ``trained_on.toml`` in its folder, for a warning before runs on other tasks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from headless_eval.contracts.simulator import Task
from headless_eval.errors import UserError
from headless_eval.shared.files import replacing
from headless_eval.shared.toml import from_table, to_toml
from headless_eval.shared.untrusted import read_toml

_FILE = "trained_on.toml"


@dataclass(frozen=True)
class TrainedOn:
    """Tasks of a suite.

    Args:
        suite: the suite's name.
        tasks: the tasks' keys; empty for the whole suite.
    """

    suite: str
    tasks: tuple[str, ...] = ()

    @property
    def flags(self) -> str:
        """Return the flags of ``run`` that choose these tasks."""
        return " ".join(["--suite", self.suite, *(["--tasks", *self.tasks] if self.tasks else [])])

    def warning(self, policy: str, suite: str, tasks: Sequence[Task]) -> str | None:
        """Return the warning before an evaluation on tasks that the policy was not trained on; None if it was."""
        strange = sum(
            suite != self.suite or (self.tasks != () and task.key not in self.tasks) for task in tasks
        )
        if not strange:
            return None
        which = "this task" if len(tasks) == 1 else f"{strange} of these {len(tasks)} tasks"
        return f"{policy} was trained on {self.flags} alone: expect no success in {which}, whatever the precision"


def read_trained_on(folder: Path) -> TrainedOn | None:
    """Return the training tasks of the policy in a folder; None if the folder does not list them.

    Raises:
        UserError: the file cannot be read or is malformed.
    """
    path = folder / _FILE
    if not path.is_file():
        return None
    try:
        return from_table(TrainedOn, read_toml(path))
    except (OSError, ValueError, UserError) as error:
        raise UserError(f"{path} does not say what the policy was trained on: {error}") from None


def write_trained_on(folder: Path, trained_on: TrainedOn) -> None:
    """Write the training tasks into a policy's folder."""
    with replacing(folder / _FILE) as file:
        file.write(to_toml(asdict(trained_on)))
