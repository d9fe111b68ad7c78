"""What a comparison compares: runs, or variants of runs, named ``DIR`` or ``DIR:VARIANT``, or others' files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from headless_eval.errors import UserError
from headless_eval.results import EpisodeRecord, Readable, open_run
from headless_eval.shared.suggest import unknown


@dataclass(frozen=True)
class Side:
    """One of the things compared.

    Args:
        label: the letter that stands for it, in the order given.
        run: the run.
        records: the last record of each of its trials; of the variant alone, if there is one.
        variant: the variant's name; None: the run with all its variants.
    """

    label: str
    run: Readable
    records: tuple[EpisodeRecord, ...]
    variant: str | None = None

    def __str__(self) -> str:
        path = str(self.run.path)
        return path if self.variant is None else f"{path}:{self.variant}"


def find_sides(names: Sequence[str], *, assume_paired: bool = False) -> list[Side]:
    """Return the sides that some texts name. Beside a variant, a run stands for each of its variants.

    Args:
        names: ``DIR``, or ``DIR:VARIANT``, where the variant is a name, or a dtype that one variant of the run has; or
            a file of another evaluator.
        assume_paired: as of ``results.open_run``.

    Raises:
        UserError: there are less than two sides or more than 26; a folder holds no run; or a run has no such variant.
    """
    found = [_split(name, assume_paired) for name in names]
    if any(variant is not None for _, variant in found):
        found = [(run, name) for run, variant in found for name in ([variant] if variant else run.variants)]
    if not 2 <= len(found) <= len(ascii_uppercase):
        raise UserError(
            f"compare takes 2 to {len(ascii_uppercase)} runs, or variants of runs (DIR:VARIANT); "
            f"there {'is' if len(found) == 1 else 'are'} {len(found)}"
        )
    return list(_labelled(found))


def _labelled(found: Sequence[tuple[Readable, str | None]]) -> Iterator[Side]:
    read: dict[Path, list[EpisodeRecord]] = {}
    for label, (run, variant) in zip(ascii_uppercase, found, strict=False):
        records = read.setdefault(run.path, run.records() if run.path not in read else [])
        mine = (one for one in records if variant is None or one.configuration == variant)
        yield Side(label, run, tuple(mine), variant)


def _split(name: str, assume_paired: bool) -> tuple[Readable, str | None]:
    """Return the run of a text, and its variant; a folder's own name may have a colon."""
    if not Path(name).exists():
        for index in (index for index, letter in enumerate(name) if letter == ":"):
            if index and Path(name[:index]).exists():
                run = open_run(name[:index], assume_paired=assume_paired)
                return run, _variant(run, name[index + 1 :])
    return open_run(name, assume_paired=assume_paired), None


def _variant(run: Readable, name: str) -> str:
    if name in run.variants:
        return name
    alike = [str(entry["name"]) for entry in run.manifest["variants"] if entry.get("dtype") == name]
    if len(alike) > 1:
        raise UserError(f"{run.path} has {len(alike)} variants of {name}: name one of {', '.join(alike)}")
    if not alike:
        raise unknown(f"variant of {run.path}", name, run.variants)
    return alike[0]
