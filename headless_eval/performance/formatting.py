"""Text of measured numbers, and tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a table in Markdown; all but the first ``left`` columns are numbers."""
    lines = [header, ["---"] * left + ["---:"] * (len(header) - left), *rows]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
        + "\n"
    )


def significant(value: float | None, digits: int = 3) -> str:
    """Return a number with some significant digits, without an exponent; a dash for None."""
    if value is None:
        return "–"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if "e+" in text or abs(value) >= 10**digits else text


def scientific(value: float | None) -> str:
    """Return a small number, such as an error, with two significant digits; a dash for None."""
    if value is None:
        return "–"
    return "0" if value == 0 else f"{value:.1e}" if value < 1e-3 else f"{value:.2g}"


def size(number: float | None) -> str:
    """Return a number of bytes with its unit; a dash for None."""
    if number is None:
        return "–"
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"


def percent(share: float | None) -> str:
    """Return a share in percent; a dash for None."""
    return "–" if share is None else f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
