"""Error messages for unknown names, with a suggestion."""

from collections.abc import Iterable
from difflib import get_close_matches

from headless_eval.errors import UserError


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for an unknown name: it suggests the nearest of the known ones and lists them all.

    Args:
        what: the kind of thing that was named, such as ``"suite"``.
        name: the unknown name.
        known: all valid names.
    """
    names = list(known)
    near = nearest(name, names)
    hint = f": did you mean {near}? There are" if near else "; there are"
    return UserError(f"unknown {what} {name!r}{hint}: {', '.join(names) or 'none'}")


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """Return the known name that an unknown one probably means; None if no name is alike.

    Args:
        name: the unknown name.
        known: all valid names.
        cutoff: how alike they must be, from 0 to 1.
    """
    names = list(known)
    begun = [known for known in names if known.startswith(name) and name]
    by_lower = {known.lower(): known for known in names}
    alike = [by_lower[known] for known in get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)]
    return next(iter(begun or alike), None)
