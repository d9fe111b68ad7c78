"""What variants would have done on the baseline's own path: their actions at its observations, with its noise.

``divergence/<variant>.f32`` holds the actions as ``actions/`` does: a row per control step of the baseline's episode,
where the chunk that the variant answered at the replan before is followed as far as the baseline followed its own.
``divergence.jsonl`` has a line per variant and episode that says where they are. It is replaced as a whole, so it
never ends in the middle of a line.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated

from msgspec import Meta

from headless_eval.errors import UserError
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


def read_divergences(folder: Folder) -> list[Divergence]:
    """Return the lines of a run's ``divergence.jsonl``, in order; none if there is no such file.

    Raises:
        UserError: the file cannot be read, or is damaged.
    """
    path = folder.path / FILE
    try:
        with folder.reader(FILE) as file:
            lines = content_of(file).splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise _damaged(folder, str(error)) from None
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(convert(parse_json(line), Divergence))
        except ValueError as error:
            raise _damaged(folder, f"line {number}: {error}") from None
    return found


def write_divergences(folder: Folder, lines: Iterable[Divergence]) -> None:
    """Replace ``divergence.jsonl``.

    Raises:
        OSError: it cannot be written; it is then unchanged.
    """
    with folder.replacing(FILE) as file:
        for line in lines:
            file.write(json.dumps(asdict(line), ensure_ascii=False, separators=(",", ":")) + "\n")


def _damaged(folder: Folder, what: str) -> UserError:
    return UserError(
        f"{folder.path / FILE} is damaged ({what}): remove it; headless-eval divergence {folder.path} makes it again"
    )
