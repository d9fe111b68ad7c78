"""Runs as one long table: a row per trial, for whatever reads CSV or Parquet."""

import csv
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from headless_eval.errors import UserError
from headless_eval.report.exports import more_columns, more_fields
from headless_eval.results import EpisodeRecord, RunDirectory
from headless_eval.results.record import FIELDS, OPTIONAL
from headless_eval.shared.files import replacing
from headless_eval.shared.program import install

FORMATS = ("csv", "parquet")
COLUMNS = (
    "run",
    *(name for name in FIELDS if name not in ("error", "actions", *OPTIONAL)),
    *("error_type", "error_message", "error_traceback"),
)
_INTEGERS = {"task_id", "episode", "steps", "max_steps", "seed", "replans"}
_FLOATS = {"sim_s", "render_s", "infer_s", "total_s"}
_ROWS = 20_000


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
    runs = [(folder.resolve().name, RunDirectory.open(folder).records()) for folder in folders]
    columns = (*COLUMNS, *more_columns(record for _, records in runs for record in records))
    rows = ({"run": name, **_fields(record)} for name, records in runs for record in records)
    write = _write_csv if format == "csv" else _parquet_writer()
    try:
        write(output, columns, rows)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from None
    return output


def _fields(record: EpisodeRecord) -> dict[str, Any]:
    fields = record.to_dict() | more_fields(record)
    if not record.quantized:
        fields["mode"] = None
    error = fields.pop("error") or {}
    del fields["actions"]
    for name in OPTIONAL:
        fields.pop(name, None)
    return fields | {f"error_{name}": error.get(name) for name in ("type", "message", "traceback")}


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    with replacing(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _parquet_writer() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            f"Parquet needs pyarrow: run {install('headless-eval[parquet]')}, or export CSV"
        ) from None
    kinds = {name: pyarrow.int64() for name in _INTEGERS} | {name: pyarrow.float64() for name in _FLOATS}
    kinds["success"] = pyarrow.bool_()

    def kind(column: str) -> Any:
        return pyarrow.float64() if column.startswith("metric_") else kinds.get(column, pyarrow.string())

    def write(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
        schema = pyarrow.schema([(name, kind(name)) for name in columns])
        rows = iter(rows)
        with replacing(path, "wb") as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
            while part := list(islice(rows, _ROWS)):
                writer.write_table(pyarrow.Table.from_pylist(part, schema))

    return write
