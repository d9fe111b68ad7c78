"""What the three commands share in showing and writing their figures."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """Make the folder for a command's files; one that nothing is written to does not stay.

    Args:
        folder: the one wanted; None for ``results/<date>_<time>_<kind>``.
        kind: the command's name.
        held: a file that may not be there yet.

    Raises:
        UserError: it holds such results already, or cannot be written.
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
    """Write dataclasses of one type, a line each."""
    with replacing(path) as file:
        names = [field.name for field in fields(rows[0])] if rows else []
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _number(value) for name, value in asdict(row).items()})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a table with where and by what it was measured."""
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


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a table in Markdown; all but the first ``left`` columns are numbers."""
    lines = [header, ["---"] * left + ["---:"] * (len(header) - left), *rows]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
        + "\n"
    )


def significant(value: float | None, digits: int = 3) -> str:
    """Return a number to some digits, without an exponent; a dash for none."""
    if value is None:
        return "–"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if "e+" in text or abs(value) >= 10**digits else text


def scientific(value: float | None) -> str:
    """Return a small number, such as an error, to two digits; a dash for none."""
    if value is None:
        return "–"
    return "0" if value == 0 else f"{value:.1e}" if value < 1e-3 else f"{value:.2g}"


def size(number: float | None) -> str:
    """Return bytes for people; a dash for none."""
    if number is None:
        return "–"
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"


def percent(share: float | None) -> str:
    """Return a share in percent; a dash for none."""
    return "–" if share is None else f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _number(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
