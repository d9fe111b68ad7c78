"""CSV files of a report: a header and rows, safe for spreadsheets, replaced atomically."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from headless_eval.shared.files import replacing
from headless_eval.shared.text import spreadsheet_cell


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file.

    None becomes an empty field; a text that a spreadsheet would take for a formula gets an apostrophe before it.

    Args:
        path: the file.
        columns: the header.
        rows: the values in the order of the columns.

    Raises:
        OSError: the file cannot be written; it is then unchanged.
    """
    with replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([spreadsheet_cell(value) for value in row] for row in rows)
