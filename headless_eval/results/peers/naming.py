"""Names of suites, tasks and variants from what other evaluators' files and the user say."""

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from headless_eval.errors import UserError

_MOST = 60


def word(text: str) -> str:
    """Return a text as a name fit for files: letters, digits, ``_``, ``-`` and ``.``, not too long."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._-")[:_MOST] or "unnamed"


def suite_name(parts: Collection[str]) -> str:
    """Return one name for the parts of an evaluation, the same for the same parts in any order."""
    words = sorted(word(part) for part in parts)
    joined = "-".join(words)
    return joined if len(joined) <= _MOST else f"{words[0]}-and-{len(words) - 1}-more"


def split_name(text: str) -> tuple[str | None, Path]:
    """Return the name and the path of ``NAME=PATH``, or None and the path of ``PATH``."""
    name, equals, path = text.partition("=")
    if equals and re.fullmatch(r"[\w.+-]+", name) and not Path(text).exists():
        return name, Path(path)
    return None, Path(text)


def variant_names(named: Sequence[tuple[str | None, Path]]) -> list[str]:
    """Return a name for each file: the given one, or the shortest end of its folder's path that tells it from others.

    Raises:
        UserError: two files have one name.
    """
    paths = [path for _, path in named]
    names = [name or found for (name, _), found in zip(named, _told_apart(paths), strict=True)]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two files are named {name}: give names, NAME=FILE")
    return names


def _told_apart(paths: Sequence[Path]) -> list[str]:
    folders = [path.resolve().parts[1:-1] for path in paths]
    with_files = [
        (*parts, path.stem.removeprefix("recording-")) for parts, path in zip(folders, paths, strict=True)
    ]
    for ends in (folders, with_files):
        for length in range(1, max(map(len, ends)) + 1):
            found = [word("_".join(parts[-length:])) for parts in ends]
            if len(set(found)) == len(found):
                return found
    return [word(path.stem) for path in paths]


def unique_keys(names: Iterable[tuple[str, int]]) -> list[str]:
    """Return a key for each task's name; tasks that share a name get their numbers, too."""
    pairs = list(names)
    words = [word(name) for name, _ in pairs]
    return [
        f"{one}_{number}" if words.count(one) > 1 else one
        for one, (_, number) in zip(words, pairs, strict=True)
    ]
