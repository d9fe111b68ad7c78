"""The folder of a run: manifest, journal, executed actions, videos, and the files derived from them."""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

import numpy as np

from headless_eval.contracts.variant import DEFAULT_BASELINE
from headless_eval.errors import CannotWrite, StopRun, UserError, exit_status
from headless_eval.results.actions import FOLDER as ACTIONS
from headless_eval.results.actions import ActionsWriter, read_actions
from headless_eval.results.divergence import Divergences
from headless_eval.results.journal import FILE as _JOURNAL
from headless_eval.results.journal import JournalWriter, is_being_written, read_journal
from headless_eval.results.levels import Levels, levels_of
from headless_eval.results.record import EpisodeRecord
from headless_eval.results.stated import check_stated
from headless_eval.results.stopping import Stopping, stopping_of
from headless_eval.shared.consent import distrust, texts_of
from headless_eval.shared.files import Folder, is_inside, try_folder
from headless_eval.shared.untrusted import content_of, parse_json

FORMAT = 2
"""The version of the folder's layout, kept in the manifest: 1 called the variants configurations."""

_RENAMED = {"configurations": "variants"}
_MANIFEST, _VIDEOS = "manifest.json", "videos"
_MARKS = (_JOURNAL, _MANIFEST, "results.json", "*_results.csv", "*_results.json", _VIDEOS, ACTIONS)
_UNFINISHED, _UNFINISHED_VIDEO = re.compile(r"\..*\.tmp"), re.compile(r"\..*\.mp4\.part")


class RunDirectory:
    """The folder of one run.

    Use ``create`` to start a run and ``open`` to read or continue one. Leaving it as a context manager closes
    it; if an exception passes through before ``finish``, the manifest says ``interrupted`` (Ctrl-C) or
    ``failed``; if it does so later, the manifest's exit status becomes that of the exception.

    Attributes:
        path: the folder.
        divergences: what variants would have done on the baseline's own path.
    """

    def __init__(self, folder: Folder, manifest: dict[str, Any], journal: JournalWriter | None) -> None:
        self.path = folder.path
        self._folder = folder
        self._manifest = manifest
        self._journal = journal
        self._actions = ActionsWriter(folder)
        self.divergences = Divergences(folder, writable=journal is not None)
        self._finished = False

    @classmethod
    def check(cls, path: str | Path | None) -> None:
        """Raise the errors of ``create`` early, before a run is prepared; nothing is created or changed.

        Raises:
            UserError: the folder holds a run already, the path is a file, or it cannot be written.
        """
        folder = default_folder() if path is None else Path(path)
        try:
            if folder.exists() and not folder.is_dir():
                raise UserError(f"{folder} is not a folder: choose another folder")
            held = _held(folder)
            try_folder(folder)
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None
        if held:
            raise UserError(
                f"{folder} already holds a run ({held[0]}): choose another folder, remove it, or continue "
                "the run with --resume"
            )

    @classmethod
    def create(cls, path: str | Path | None, manifest: Mapping[str, Any]) -> Self:
        """Start a run: make the folder, lock it and write its manifest with the status ``running``.

        Args:
            path: the folder, made with its parents; None for ``results/<YYYYmmdd_HHMMSS>``.
            manifest: what ``headless_eval.results.manifest.build_manifest`` returns.

        Raises:
            UserError: the folder holds a run already or cannot be written; nothing is changed then.
        """
        folder = default_folder() if path is None else Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            cls.check(folder)
            handle = Folder(folder)
            # A run that was killed before it wrote its manifest does not count: the folder is reused.
            journal = JournalWriter(handle, new=not handle.holds(_JOURNAL))
        except FileExistsError:
            what = "already holds a run" if folder.is_dir() else "is not a folder"
            raise UserError(f"{folder} {what}: choose another folder") from None
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None
        run = cls(handle, {"format": FORMAT, "status": "running", **manifest}, journal)
        try:
            run._write_manifest()
        except BaseException:
            run.close()
            handle.remove(_JOURNAL)
            raise
        return run

    @classmethod
    def open(cls, path: str | Path, *, write: bool = False) -> Self:
        """Open a run that exists.

        Args:
            path: its folder.
            write: also lock the folder, to append records; an incomplete last line of the journal is cut off.

        Raises:
            UserError: the folder holds no run, a damaged run, or a run of a later version of this program; or, with
                ``write``, another process is writing to the folder.
        """
        try:
            folder = Folder(Path(path))
        except OSError:
            raise _holds_no_run(Path(path)) from None
        manifest = _read_manifest(folder)
        distrust(texts_of(manifest), folder.path)
        return cls(folder, manifest, JournalWriter(folder) if write else None)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The manifest: command, settings, versions, hardware, hashes, status."""
        return self._manifest

    @property
    def variants(self) -> list[str]:
        """The names of the run's variants, in their order."""
        return [entry["name"] for entry in self._manifest["variants"]]

    @property
    def baseline(self) -> str:
        """The name of the variant that the others are compared with; it need not have run."""
        return str(self._manifest.get("baseline", DEFAULT_BASELINE))

    @property
    def planned(self) -> int:
        """The number of episodes of each variant that the run has."""
        return len(self._manifest["tasks"]) * int(self._manifest.get("episodes") or 0)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results has to know beside them: nothing, as the folder states everything."""
        return ()

    @property
    def is_running(self) -> bool:
        """Whether a process of this machine is writing to the folder."""
        return self._journal is not None or is_being_written(self._folder)

    def append(self, record: EpisodeRecord, actions: np.ndarray | None = None) -> None:
        """Add an episode to the journal; the record is on disk when this returns.

        Args:
            record: the episode's record; its field ``actions`` is set here.
            actions: the executed actions, float32 (steps, dims), to be kept; None keeps no actions.

        Raises:
            CannotWrite: the record or the actions cannot be written; the journal is then unchanged.
            StopRun: the folder was deleted or renamed meanwhile. A renamed folder has the record.
        """
        if self._journal is None:
            raise RuntimeError("the run was opened for reading, or is closed")
        if actions is not None and len(actions):
            try:
                place = self._actions.append(record.configuration, actions)
            except OSError as error:
                raise CannotWrite("the actions", error.strerror) from error
            record = replace(record, actions=place)
        self._journal.append(record)
        if self._journal.is_deleted or not self._folder.is_at_its_path:
            raise StopRun(
                f"{self.path} was deleted or renamed while the run was writing to it: continue a renamed folder with "
                "run --resume, or start a new run"
            )

    def actions(self, record: EpisodeRecord) -> np.ndarray | None:
        """Return a record's executed actions, float32 (steps, dims), or None if they are missing or incomplete."""
        return read_actions(self._folder, record)

    def video(self, record: EpisodeRecord) -> Path | None:
        """Return the path of a record's video; None if it has no video, or its path leads out of the folder."""
        if record.video is None or not is_inside(record.video):
            return None
        *folders, name = PurePosixPath(record.video).parts
        folder = self._folder
        try:
            for one in folders:
                folder = folder.folder(one)
        except OSError:
            return None
        return self.path / record.video if folder.holds(name) else None

    def attempts(self) -> Counter[tuple[str, int, int]]:
        """Return the number of records of each trial: more than 1 if an error was retried."""
        return Counter(record.trial for record in self.journal())

    def clean(self) -> None:
        """Remove incomplete files of a killed process; the run must be open for writing."""
        for folder, name in self._folder.files():
            inside = folder.path.relative_to(self.path).parts
            if (not inside and _UNFINISHED.fullmatch(name)) or (
                inside[:1] == (_VIDEOS,) and _UNFINISHED_VIDEO.fullmatch(name)
            ):
                folder.remove(name)

    def journal(self) -> Iterator[EpisodeRecord]:
        """Yield every record in the order of writing, including earlier attempts at a trial.

        Raises:
            UserError: the journal is damaged before its last line.
        """
        return read_journal(self._folder)

    def records(self) -> list[EpisodeRecord]:
        """Return the last record of each trial, in order of variant, task and episode.

        Variants and tasks have the manifest's order, whatever order they ran in. In a sequential run, episodes after
        the deciding pair of a variant are left out.

        Raises:
            UserError: the journal is damaged before its last line.
        """
        stopping = self.stopping()
        variants = {name: index for index, name in enumerate(self.variants)}
        tasks = {entry["id"]: index for index, entry in enumerate(self._manifest["tasks"])}

        def order(record: EpisodeRecord) -> tuple[int, str, int, int, int]:
            return (
                variants.get(record.configuration, len(variants)),
                record.configuration,
                tasks.get(record.task_id, len(tasks)),
                record.task_id,
                record.episode,
            )

        records = {record.trial: record for record in self.journal()}.values()
        return sorted(
            (record for record in records if stopping is None or stopping.wanted(record.trial)), key=order
        )

    def levels(self) -> Levels | None:
        """Return which trials a run with adaptive levels is to run, after its journal; None for another run.

        Raises:
            UserError: the manifest or the journal is damaged, or the run's tasks have no such levels.
        """
        try:
            levels = levels_of(self._manifest)
        except ValueError as error:
            raise UserError(
                f"{self.path / _MANIFEST} is damaged: {error}; restore it or start a new run"
            ) from None
        if levels is not None:
            for record in self.journal():
                levels.add(record)
        return levels

    def stopping(self) -> Stopping | None:
        """Return the tests of a sequential run, with the journal's pairs; None if the run is not sequential.

        Raises:
            UserError: the manifest or the journal is damaged.
        """
        settings = self._manifest.get("settings")
        if not isinstance(settings, dict) or settings.get("sequential") is None:
            return None
        try:
            stopping = stopping_of(self._manifest)
        except ValueError as error:
            raise UserError(
                f"{self.path / _MANIFEST} is damaged: {error}; restore it or start a new run"
            ) from None
        for record in self.journal():
            stopping.add(record)
        return stopping

    def video_place(self, configuration: str, task_key: str, episode: int) -> tuple[Folder, str]:
        """Return the folder of a trial's video, which is made, and its name without outcome and suffix.

        Raises:
            CannotWrite: the folder cannot be made.
        """
        where = f"{_VIDEOS}/{_safe(configuration)}"
        try:
            with self._folder.folder(_VIDEOS, make=True) as videos:
                folder = videos.folder(_safe(configuration), make=True)
        except OSError as error:
            raise CannotWrite(f"{self.path / where}", error.strerror) from error
        return folder, f"{_safe(task_key)}_ep{episode:03d}"

    def relative(self, path: Path) -> str:
        """Return a path inside the folder as a record keeps it: relative, with forward slashes."""
        return path.relative_to(self.path).as_posix()

    def update_manifest(self, **entries: Any) -> None:
        """Set entries of the manifest, in memory and on disk.

        Raises:
            UserError: the manifest cannot be written; the file is then unchanged.
        """
        self._manifest.update(entries)
        self._write_manifest()

    def finish(self, exit_status: int, status: str = "finished") -> None:
        """Complete the manifest: when and how the run ended.

        Args:
            exit_status: what the process will return to the shell.
            status: ``finished`` (errors in episodes included), ``interrupted`` or ``failed``.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._finished = True
        self.update_manifest(status=status, exit_status=exit_status, finished_at=now)

    def close(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._actions.close()
        self.divergences.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is not None and self._journal is not None:
                status = exit_status(error)
                with contextlib.suppress(
                    UserError
                ):  # a full disk must not hide the error that stopped the run
                    if self._manifest["status"] == "running":
                        self.finish(status, "interrupted" if status == 130 else "failed")
                    elif self._finished:
                        self.update_manifest(exit_status=status)
        finally:
            self.close()

    def _write_manifest(self) -> None:
        try:
            with self._folder.replacing(_MANIFEST) as file:
                json.dump(self._manifest, file, indent=2, ensure_ascii=False)
                file.write("\n")
        except OSError as error:
            raise UserError(f"cannot write {self.path / _MANIFEST}: {error.strerror}") from error


def _held(folder: Path) -> list[str]:
    """Return the names of files in a folder that belong to a run."""
    held = [found.name for mark in _MARKS for found in folder.glob(mark)]
    return [] if held == [_JOURNAL] and (folder / _JOURNAL).stat().st_size == 0 else held


def holds_run(folder: Path) -> bool:
    """Return whether a folder holds the journal or the manifest of a run."""
    return (folder / _JOURNAL).exists() or (folder / _MANIFEST).exists()


def default_folder() -> Path:
    """Return the folder for new results, ``results/<YYYYmmdd_HHMMSS>``, which does not exist yet."""
    now = datetime.now().strftime("%Y%m%d_%H%M%S")
    folder = Path("results") / now
    count = 2
    while folder.exists():  # another run started within the same second
        folder = Path("results") / f"{now}_{count}"
        count += 1
    return folder


def _safe(name: str) -> str:
    """Return a name fit for a file: letters, digits, ``_``, ``-``, ``.``, and ``_`` for all others."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def _holds_no_run(path: Path) -> UserError:
    return UserError(
        f"{path} holds no run: {_MANIFEST} and {_JOURNAL} are expected in it, as files and not as links"
    )


def _read_manifest(folder: Folder) -> dict[str, Any]:
    path = folder.path / _MANIFEST
    if not folder.holds(_MANIFEST) or not folder.holds(_JOURNAL):
        raise _holds_no_run(folder.path)
    try:
        with folder.reader(_MANIFEST) as file:
            manifest = parse_json(content_of(file))
        if not isinstance(manifest, dict):
            raise ValueError("not a JSON object")
        if type(manifest.get("format")) is int and manifest["format"] > FORMAT:
            raise UserError(
                f"{folder.path} was written by a later version of headless-eval: update to read it"
            )
        if "variants" not in manifest:  # format 1
            manifest = {_RENAMED.get(key, key): value for key, value in manifest.items()}
        check_stated(manifest)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}; restore it or start a new run") from None
    return {**manifest, "format": FORMAT}
