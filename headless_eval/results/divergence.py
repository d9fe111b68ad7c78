"""What variants would have done on the baseline's own path: their actions at its observations, with its noise.

``divergence/<variant>.f32`` holds the actions as ``actions/`` does: a row per control step of the baseline's episode,
where the chunk that the variant answered at the replan before is followed as far as the baseline followed its own.
``divergence.jsonl`` has a line per variant and episode that says where they are. It is replaced as a whole, so it
never ends in the middle of a line.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated

import numpy as np
from msgspec import Meta

from headless_eval.errors import CannotWrite, UserError
from headless_eval.results.actions import ActionsWriter, read_actions
from headless_eval.results.record import ERROR, Count, EpisodeRecord
from headless_eval.shared.files import Folder
from headless_eval.shared.untrusted import content_of, convert, parse_json

FILE = "divergence.jsonl"
FOLDER = "divergence"


@dataclass(frozen=True, slots=True)
class Divergence:
    """What a variant would have done in an episode of the baseline; a line of ``divergence.jsonl``.

    Args:
        configuration: the variant's name.
        task_id: the task's number in its suite.
        episode: the episode's index.
        steps: control steps of the baseline's episode.
        horizon: control steps between two replans.
        baseline_sha256: hash of the baseline's executed actions, by which the line belongs to that episode.
        actions_sha256: hash of the variant's actions, float32 little-endian in C order.
        actions: their position in ``divergence/<configuration>.f32``: ``offset`` in bytes and ``dims``.
    """

    configuration: str
    task_id: Count
    episode: Count
    steps: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    horizon: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    baseline_sha256: str
    actions_sha256: str
    actions: dict[str, int] | None = None

    @property
    def trial(self) -> tuple[str, int, int]:
        """Return (configuration, task_id, episode)."""
        return self.configuration, self.task_id, self.episode

    def is_of(self, record: EpisodeRecord) -> bool:
        """Return whether this was asked along the episode that a record of the baseline tells of."""
        return (
            record.status != ERROR
            and (self.task_id, self.episode, self.steps) == (record.task_id, record.episode, record.steps)
            and self.baseline_sha256 == record.actions_sha256
        )


class Divergences:
    """The answers of variants that a run's folder keeps.

    Args:
        folder: the run's.
        writable: whether the run is open for writing.
    """

    def __init__(self, folder: Folder, *, writable: bool) -> None:
        self._folder, self._writable = folder, writable
        self._actions = ActionsWriter(folder, FOLDER)

    def lines(self) -> list[Divergence]:
        """Return the lines of ``divergence.jsonl``, in order of writing; none if there is no such file.

        Raises:
            UserError: the file cannot be read, or is damaged.
        """
        path = self._folder.path / FILE
        try:
            with self._folder.reader(FILE) as file:
                lines = content_of(file).splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None
        except ValueError as error:
            raise _damaged(self._folder, str(error)) from None
        found = []
        for number, line in enumerate(lines, start=1):
            try:
                found.append(convert(parse_json(line), Divergence))
            except ValueError as error:
                raise _damaged(self._folder, f"line {number}: {error}") from None
        return found

    def actions(self, line: Divergence) -> np.ndarray | None:
        """Return a line's actions, float32 (steps, dims), or None if they are missing or incomplete."""
        return read_actions(self._folder, line, FOLDER)

    def add(self, found: Sequence[tuple[Divergence, np.ndarray]]) -> None:
        """Keep answers; earlier lines of the same trials are replaced.

        Args:
            found: each with the variant's actions, float32 (steps, dims); the field ``actions`` is set here.

        Raises:
            CannotWrite: the folder takes no more; ``divergence.jsonl`` is then unchanged.
            RuntimeError: the run was opened for reading, or is closed.
            UserError: ``divergence.jsonl`` is damaged.
        """
        if not self._writable:
            raise RuntimeError("the run was opened for reading, or is closed")
        lines = {line.trial: line for line in self.lines()}
        try:
            for line, actions in found:
                place = self._actions.append(line.configuration, actions)
                lines[line.trial] = replace(line, actions=place)
            with self._folder.replacing(FILE) as file:
                for line in lines.values():
                    file.write(json.dumps(asdict(line), ensure_ascii=False, separators=(",", ":")) + "\n")
        except OSError as error:
            raise CannotWrite("the divergence from the baseline", error.strerror) from error

    def close(self) -> None:
        """Close the files of actions; nothing can be added from now on."""
        self._writable = False
        self._actions.close()


def _damaged(folder: Folder, what: str) -> UserError:
    return UserError(
        f"{folder.path / FILE} is damaged ({what}): remove it; headless-eval divergence {folder.path} makes it again"
    )
