"""What commands print for people: as wide as the terminal, and where there is none as wide as it is; never cut off."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

_ENDLESS = 10_000


def new_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Return a console; without a terminal its lines have no end, unless ``$COLUMNS`` says where."""
    console = Console(stderr=stderr, quiet=quiet, markup=False)  # a path may have brackets
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        console.width = _ENDLESS
    return console


@dataclass(frozen=True)
class Listing:
    """A table between its title and what explains its columns.

    On a terminal that is too narrow it goes without some columns, then without gaps; then cells are folded.

    Args:
        header: the columns' heads.
        rows: their cells.
        left: how many columns are names, at the left; the others are right-aligned numbers.
        title: above the table.
        legend: explanations by the head of a column; only those of columns that are shown are.
        note: what else there is to say below.
        spare: sets of columns to go without, by their heads, in this order.
        styles: of the rows, if not plain.
        sections: the indices of rows with a gap above them.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    left: int = 1
    title: str = ""
    legend: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    spare: Sequence[Collection[str]] = ()
    styles: Sequence[str] = ()
    sections: Collection[int] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        *_, (kept, table) = self._until_one_fits(options.max_width)
        if self.title:
            yield Text(self.title, "table.title")
        for line in console.render_lines(table, options, pad=False):
            yield from _stripped(line)
            yield Segment.line()
        if below := self.explained(self.header[index] for index in kept):
            yield Text(below, "table.caption")

    def explained(self, columns: Iterable[str]) -> str:
        """Return what explains a table of these columns, in one line."""
        shown = set(columns)
        return " ".join(
            [*(text for head, text in self.legend.items() if text and head in shown), self.note]
        ).strip()

    def _until_one_fits(self, width: int) -> Iterator[tuple[list[int], Table]]:
        """Yield tables, each narrower than the one before, with the columns that are in them."""
        kept = list(range(len(self.header)))
        for without in ((), *self.spare):
            kept = [index for index in kept if self.header[index] not in without]
            table = self._table(kept, gap=1)
            yield kept, table
            if _width(table) <= width:
                return
        table = self._table(kept, gap=0)
        yield kept, table
        if _width(table) > width:
            # Names are folded only where little would be left for the rest.
            names = sum(
                max(len(row[index]) for row in [self.header, *self.rows]) for index in kept[: self.left]
            )
            yield kept, self._table(kept, gap=0, foldable=kept if names > width / 2 else kept[self.left :])

    def _table(self, kept: Sequence[int], *, gap: int, foldable: Collection[int] | None = None) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0))
        for index in kept:
            table.add_column(
                Text(self.header[index]),
                justify="left" if index < self.left else "right",
                no_wrap=foldable is not None and index not in foldable,
                overflow="fold",
            )
        for number, row in enumerate(self.rows):
            if number in self.sections:
                table.add_row()
            cells = (Text(cell) if isinstance(cell := row[index], str) else cell for index in kept)
            table.add_row(*cells, style=self.styles[number] if self.styles else "")
        return table


def _stripped(line: list[Segment]) -> list[Segment]:
    """Return a line without the spaces at its end, which would be lines of their own where it is wrapped."""
    while line and not line[-1].text.strip():
        line = line[:-1]
    return [*line[:-1], *(Segment(segment.text.rstrip(), segment.style) for segment in line[-1:])]


def _width(table: Table) -> int:
    """Return how wide a table is if nothing in it is folded."""
    endless = Console(width=_ENDLESS)
    return Measurement.get(endless, endless.options, table).maximum
