"""How the help shows a flag; nothing heavy is imported."""

from typing import Any

import tyro


def flag(metavar: str, default: str | None = None, *aliases: str) -> Any:
    """Return an annotation for a flag whose type, or whose default, is not for people.

    Args:
        metavar: what stands for its value.
        default: what to say of its default; by default tyro's own words.
        aliases: other names, dashes included.
    """
    hint = None if default is None else f"(default: {default})"
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=hint, aliases=aliases or None)
