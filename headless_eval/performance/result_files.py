"""The folder and the files of a measurement's results."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headless_eval.errors import UserError
from headless_eval.results.manifest import hardware, source, versions
from headless_eval.shared.files import replacing


@contextmanager
def new_folder(folder: Path | None, kind: str, held: str | None) -> Iterator[Path]:
    """Create the folder for a command's files; if nothing is written to it, it is removed at the end.

    Args:
        folder: the user's choice; None for ``results/<date>_<time>_<kind>``.
        kind: the command's name.
        held: a file that must not exist in the folder.

    Raises:
        UserError: the folder already holds such results, or cannot be written.
    """
    folder = folder or Path("results") / f"{datetime.now():%Y%m%d_%H%M%S}_{kind}"
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None
    if held is not None and (folder / held).exists():
        raise UserError(f"{folder} already holds {held}: choose another folder with --results, or remove it")
    try:
        yield folder
    finally:
        with suppress(OSError):
            for one in made:
                one.rmdir()


def write_csv(path: Path, rows: Sequence[Any]) -> None:
    """Write dataclasses of one type as CSV, a line each."""
    with replacing(path) as file:
        names = [field.name for field in fields(rows[0])] if rows else []
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _number(value) for name, value in asdict(row).items()})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a table as JSON, together with the machine and the versions."""
    about = {
        "command": sys.argv,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "source": source(),
        "hardware": hardware(),
    }
    with replacing(path) as file:
        json.dump({**about, **content}, file, indent=1, default=_plain)
        file.write("\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8."""
    with replacing(path) as file:
        file.write(text)


def _number(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
