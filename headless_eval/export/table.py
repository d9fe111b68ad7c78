"""Runs as one long table: a row per trial, for whatever reads CSV or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headless_eval.errors import UserError
from headless_eval.report import frames
from headless_eval.results import RunDirectory
from headless_eval.shared.files import replacing
from headless_eval.shared.program import install
from headless_eval.shared.text import spreadsheet_cell

if TYPE_CHECKING:
    from pandas import DataFrame

FORMATS = ("csv", "parquet")
COLUMNS = ("run", *frames.COLUMNS)


def export(folders: Sequence[Path], output: Path | None = None, format: str | None = None) -> Path:
    """Write the trials of some runs as one table: ``COLUMNS``, then ``more_columns`` of variants and metrics.

    Args:
        folders: of the runs; their names make the column ``run``.
        output: the file; by default ``episodes.csv`` or ``episodes.parquet`` in the only folder.
        format: ``csv`` or ``parquet``; by default what the file's name ends with, or CSV.

    Returns:
        The file.

    Raises:
        UserError: a folder holds no run, the format is unknown, Parquet needs pyarrow, or the file exists as a
            folder or cannot be written.
    """
    if not folders:
        raise UserError("no run to export: name its folder")
    if format is None:
        format = "parquet" if output is not None and output.suffix == ".parquet" else "csv"
    if format not in FORMATS:
        raise UserError(f"unknown format {format!r}: there are {', '.join(FORMATS)}")
    if output is None:
        if len(folders) > 1:
            raise UserError("several runs make one table: say where with --output FILE")
        output = folders[0] / f"episodes.{format}"
    table = _table(folders)
    try:
        if format == "csv":
            with replacing(output) as file:
                table.map(spreadsheet_cell).to_csv(file, index=False, lineterminator="\n")
        else:
            with replacing(output, "wb") as file:
                frames.typed(table).to_parquet(file, engine="pyarrow", index=False)
    except ImportError:
        raise UserError(
            f"Parquet needs pyarrow: run {install('headless-eval[parquet]')}, or export CSV"
        ) from None
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from None
    return output


def _table(folders: Sequence[Path]) -> DataFrame:
    runs = [(folder.resolve().name, RunDirectory.open(folder).records()) for folder in folders]
    records = [record for _, of_run in runs for record in of_run]
    table = frames.table_of(records)
    table.insert(0, "run", [name for name, of_run in runs for _ in of_run])
    return table
