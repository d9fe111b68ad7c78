"""The executed actions of every episode, so that a difference between two runs can be named, not only noticed.

``actions/<configuration>.f32`` holds the actions of that configuration's episodes one after another: float32,
little-endian, row by row. The journal's record says where an episode's begin and how wide its rows are. They are
written before the record, so a record never points to what was not written; what a crash leaves without a record
is skipped. They are not waited for on disk as the journal is: after a power loss the record's hash tells whether
they are whole.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from headless_eval.results.record import EpisodeRecord

FOLDER = "actions"


class ActionsWriter:
    """Appends episodes' actions to the files of a run.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._files: dict[str, tuple[int, int]] = {}

    def append(self, configuration: str, actions: np.ndarray) -> dict[str, int]:
        """Append one episode's actions, float32 (steps, dims), and return where they are, for its record.

        Raises:
            OSError: if they cannot be written; the file is then as it was.
        """
        if configuration not in self._files:
            self._folder.mkdir(exist_ok=True)
            path = self._folder / f"{configuration}.f32"
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._files[configuration] = file, os.fstat(file).st_size
        file, offset = self._files[configuration]
        data = memoryview(np.ascontiguousarray(actions, "<f4").tobytes())
        try:
            written = 0
            while written < len(data):
                written += os.write(file, data[written:])
        except OSError:
            os.ftruncate(file, offset)
            raise
        self._files[configuration] = file, offset + len(data)
        return {"offset": offset, "dims": actions.shape[1]}

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        for file, _ in self._files.values():
            os.close(file)
        self._files.clear()


def read_actions(folder: Path, record: EpisodeRecord) -> np.ndarray | None:
    """Return the executed actions of a record, float32 (steps, dims).

    None if they were not kept, or are not those that the record's hash was taken of.
    """
    if record.actions is None or not record.steps:
        return None
    offset, dims = record.actions.get("offset"), record.actions.get("dims")
    if type(offset) is not int or type(dims) is not int or offset < 0 or dims < 1:
        return None
    name = f"{record.configuration}.f32"
    if Path(name).name != name:  # a run may come from somebody else
        return None
    size = 4 * dims * record.steps
    try:
        with open(folder / FOLDER / name, "rb") as file:
            if offset + size > os.fstat(file.fileno()).st_size:
                return None
            file.seek(offset)
            data = file.read(size)
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != record.actions_sha256:
        return None
    return np.frombuffer(data, "<f4").reshape(record.steps, dims).astype(np.float32)
