"""Numbers as text: bytes with units, singular and plural."""


def bytes_text(size: float) -> str:
    """Return a number of bytes with its unit: ``12 MB``."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def plural(number: int, noun: str) -> str:
    """Return a number and its noun: ``1 trial``, ``2 trials``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
