"""Tables and consoles for people: fitted to the terminal's width; without a terminal, lines are never wrapped."""

import codecs
import io
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from headless_eval.shared.text import printable

_ENDLESS = 10_000


def write_what_fits() -> None:
    """Let standard output take any text, whatever its encoding.

    A character that the encoding lacks becomes a question mark. Bytes of a file's name that are no text stay the same.
    """
    codecs.register_error("headless_eval_fit", _fit)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="headless_eval_fit")


def _fit(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # Names of files have such characters for bytes that are no text; see ``os.fsdecode``.
    codes = (ord(character) for character in error.object[error.start : error.end])
    return bytes(code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else ord("?") for code in codes), error.end


def say(line: str) -> None:
    """Print a line to standard error, without what a terminal would obey; an error that is full or closed loses it."""
    with suppress(OSError, ValueError):
        print(printable(line), file=sys.stderr, flush=True)


def flush() -> None:
    """Write what standard output still holds back.

    Raises:
        OSError: it cannot be written.
    """
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_output() -> None:
    """Let what standard output still holds back, and what is printed from now on, go nowhere."""
    with suppress(OSError, ValueError, AttributeError):  # no file, or none at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class SafeConsole(Console):
    """A console that shows what a terminal would obey, such as escape sequences in names, as visible escapes."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of what is printed; the console's own control codes are left as they are."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def new_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Return a console. Without a terminal its lines are never wrapped, unless ``$COLUMNS`` gives a width."""
    console = SafeConsole(stderr=stderr, quiet=quiet, markup=False)  # a path may have brackets
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        console.width = _ENDLESS
    return console


@dataclass(frozen=True)
class Listing:
    """A table with a title above and explanations of its columns below.

    On a terminal that is too narrow, some columns are left out, then the gaps between columns; then cells are folded.

    Args:
        header: the columns' heads.
        rows: the cells of each row.
        left: how many columns at the left are names; the others are right-aligned numbers.
        title: text above the table.
        legend: explanations by a column's head; those of columns that are left out are not printed.
        note: text below the table, after the explanations.
        spare: sets of columns that may be left out, by their heads, in this order.
        styles: a style for each row; empty: plain rows.
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
        """Return the explanations of these columns and the note, in one line."""
        shown = set(columns)
        return " ".join(
            [*(text for head, text in self.legend.items() if text and head in shown), self.note]
        ).strip()

    def _until_one_fits(self, width: int) -> Iterator[tuple[list[int], Table]]:
        """Yield tables, each narrower than the one before, with the indices of their columns; the last fits best."""
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
            # Names are folded only where they would leave little width for the other columns.
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
    """Return a line without the spaces at its end, which would become lines of their own where it is wrapped."""
    while line and not line[-1].text.strip():
        line = line[:-1]
    return [*line[:-1], *(Segment(segment.text.rstrip(), segment.style) for segment in line[-1:])]


def _width(table: Table) -> int:
    """Return the width of a table whose cells are not folded, in characters."""
    endless = Console(width=_ENDLESS)
    return Measurement.get(endless, endless.options, table).maximum
