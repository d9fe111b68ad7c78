"""Executed actions of every episode, so that the first difference between two runs can be located.

``actions/<configuration>.f32`` contains the actions of that configuration's episodes one after another: float32,
little-endian, row by row. The journal's record has the offset of an episode's actions and the width of a row. Actions
are written before the record, so a record never refers to missing actions; actions without a record, left by a crash,
are skipped. Unlike the journal, this file is not flushed to disk after each episode: after a power loss the record's
hash shows whether the actions are complete.
"""

import hashlib
import os
from typing import Protocol

import numpy as np

from headless_eval.shared.files import Folder

FOLDER = "actions"


class Kept(Protocol):
    """What says where actions are: the record of an episode, or a line of ``results.divergence``."""

    @property
    def configuration(self) -> str:
        """The variant's name."""

    @property
    def steps(self) -> int:
        """The number of rows."""

    @property
    def actions(self) -> dict[str, int] | None:
        """``offset`` in bytes and ``dims``; None if they were not kept."""

    @property
    def actions_sha256(self) -> str:
        """The hash of their bytes."""


class ActionsWriter:
    """Writer of the files of actions.

    Args:
        folder: the run's folder.
        name: of the folder in it.
    """

    def __init__(self, folder: Folder, name: str = FOLDER) -> None:
        self._folder, self._name = folder, name
        self._files: dict[str, tuple[int, int]] = {}

    def append(self, configuration: str, actions: np.ndarray) -> dict[str, int]:
        """Append one episode's actions, float32 (steps, dims), and return where they are, for its record.

        Raises:
            OSError: the actions cannot be written; the file is then unchanged.
        """
        if configuration not in self._files:
            with self._folder.folder(self._name, make=True) as inner:
                file = inner.open(f"{configuration}.f32", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
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


def read_actions(folder: Folder, record: Kept, name: str = FOLDER) -> np.ndarray | None:
    """Return the actions of a record, float32 (steps, dims), from the folder ``name`` of a run's.

    None if the actions were not kept, or do not have the record's hash.
    """
    if record.actions is None or not record.steps:
        return None
    offset, dims = record.actions.get("offset"), record.actions.get("dims")
    if type(offset) is not int or type(dims) is not int or offset < 0 or dims < 1:
        return None
    size = 4 * dims * record.steps
    try:
        with folder.folder(name) as inner, inner.reader(f"{record.configuration}.f32") as file:
            if offset + size > os.fstat(file.fileno()).st_size:
                return None
            file.seek(offset)
            data = file.read(size)
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != record.actions_sha256:
        return None
    return np.frombuffer(data, "<f4").reshape(record.steps, dims).astype(np.float32)
