"""The four charts of a run as PNG images: the page's own drawings, in the page's colours."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from headless_eval.report.charts import charts
from headless_eval.report.page.drawings import bar_chart
from headless_eval.report.page.markup import Markup
from headless_eval.report.summary import Summary
from headless_eval.shared.files import replacing

if TYPE_CHECKING:  # matplotlib takes a second to import, and only the end of a run needs it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CSS, *_ = files("headless_eval.report.page").joinpath("page.css").read_text(encoding="utf-8").split("@media")
_PALETTE = dict(re.findall(r"--([\w-]+): (#\w{6})\b", _CSS))
COLOURS = tuple(_PALETTE[f"c{number}"] for number in range(8))
"""Okabe and Ito's palette for colour-blind readers, with purple and grey instead of its yellow and black."""
INK, FAINT = _PALETTE["ink"], _PALETTE["faint"]

# Lengths are CSS pixels; the image has two pixels per CSS pixel in each direction.
_DPI, _INCH = 192, 96
_WIDTH, _MARGIN = 640, 24
_TEXT, _SMALL, _LARGE = 12.0, 11.0, 14.0
_PER_LINE = 100  # characters of a caption


def write_plots(folder: Path, summary: Summary) -> None:
    """Write ``success_rate_{weights_only,activations_only,both,overall}.png`` into a folder.

    The image of a mode that did not run shows the baseline, and says so. If no bar can be drawn at all, it is a small
    image with the reason.
    """
    for name, chart in charts(summary).items():
        place = folder / f"success_rate_{name}.png"
        if isinstance(chart, str):
            save_figure(_empty_figure(chart), place)
        else:
            write_figure(place, bar_chart(chart), summary.suite)


def write_figure(path: Path, drawn: Markup, suite: str) -> None:
    """Write one of the page's figures as PNG: heading, legend, drawing and caption below each other."""
    save_figure(_painted(suite, drawn), path)


def _painted(suite: str, drawn: Markup) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    heading, legend, drawing, caption = ElementTree.fromstring(drawn)
    y = _MARGIN + 11.0
    title = heading.text or ""
    _write(axes, _MARGIN, y, title, INK, _LARGE, bold=True)
    counts = f"{suite}, {''.join(heading[0].itertext())}"
    _write(axes, _MARGIN + _text_width(title, _LARGE, bold=True) + 10, y, counts, FAINT, _TEXT)
    y = _paint_legend(axes, legend, y + 14)
    _paint_svg(axes, drawing, _MARGIN, y, _WIDTH - 2 * _MARGIN)
    y += float(drawing.attrib["height"]) + 14
    text = "".join(caption.itertext())
    while text:
        line, text = _first_line(text)
        _write(axes, _MARGIN, y, line, FAINT, _SMALL)
        y += 15
    height = y - 15 + _MARGIN
    axes.set(xlim=(0, _WIDTH), ylim=(height, 0))
    figure.set_size_inches(_WIDTH / _INCH, height / _INCH)
    return figure


def _paint_legend(axes: Axes, legend: ElementTree.Element, y: float) -> float:
    """Paint a legend of swatches and names over as many lines as needed; return the position below it."""
    x = float(_MARGIN)
    for number, entry in enumerate(legend):
        swatch, name = entry[0], entry[0].tail or ""
        wide = float(swatch.attrib["width"]) + 6
        needed = wide + _text_width(name, _TEXT)
        if number and x + needed > _WIDTH - _MARGIN:
            x, y = float(_MARGIN), y + 18
        _paint_svg(axes, swatch, x, y, wide)
        _write(axes, x + wide, y + 10, name, INK, _TEXT)
        x += needed + 14
    return y + (28 if len(legend) else 0)


def _paint_svg(axes: Axes, svg: ElementTree.Element, left: float, top: float, width: float) -> None:
    """Paint the shapes of the page's charts; horizontal positions may be in percent of the width."""
    from matplotlib.patches import Circle, Rectangle

    for shape in svg.iter():
        kind = shape.get("class", "")

        def place(name: str, shape: ElementTree.Element = shape) -> float:
            value = shape.get(name, "0")
            share = value.removesuffix("%")
            start = top if "y" in name else left
            return start + (float(share) * width / 100 if share != value else float(value))

        match shape.tag:
            case "rect":
                corner = place("x"), place("y")
                size = place("width") - left, float(shape.attrib["height"])
                colour = _PALETTE[kind]
                opacity = float(shape.get("fill-opacity", "1"))
                box = {"facecolor": colour, "alpha": opacity, "linewidth": 0, "antialiased": False}
                axes.add_patch(Rectangle(corner, *size, zorder=2, **box))
            case "line":
                x, y = (place("x1"), place("x2")), (place("y1"), place("y2"))
                colour = _PALETTE.get(kind, INK)
                dashes = (0, (4, 3)) if kind == "reference" else "solid"
                heavy = kind == "whisker" or kind[:1] == "c"
                thick, order = (1.3, 3) if heavy else (1.0, 1)
                axes.plot(
                    x,
                    y,
                    color=colour,
                    linewidth=thick * 72 / _INCH,
                    linestyle=dashes,
                    solid_capstyle="butt",
                    zorder=order,
                )
            case "circle":
                centre, radius = (place("cx"), place("cy")), float(shape.attrib["r"])
                axes.add_patch(
                    Circle(
                        centre,
                        radius,
                        facecolor=_PALETTE.get(kind, _PALETTE["page"]),
                        edgecolor=_PALETTE.get(kind, INK),
                        linewidth=0.75,
                        zorder=4,
                    )
                )
            case "text":
                label = kind == "label"
                text, colour = "".join(shape.itertext()), INK if label else FAINT
                anchor = {"middle": "center", "end": "right"}.get(shape.get("text-anchor", ""), "left")
                _write(axes, place("x"), place("y"), text, colour, _TEXT, bold=label, anchor=anchor)


def _write(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    colour: str,
    size: float,
    bold: bool = False,
    anchor: str = "left",
) -> None:
    axes.text(
        x,
        y,
        text,
        color=colour,
        fontsize=size * 72 / _INCH,
        fontweight="bold" if bold else "normal",
        ha=anchor,
        va="baseline",
        parse_math=False,
    )


@lru_cache(maxsize=1000)  # the legends of a report have the same names
def _text_width(text: str, size: float, bold: bool = False) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text.replace("$", r"\$"), size=size, prop=font).get_extents().x1)


def _first_line(text: str) -> tuple[str, str]:
    """Return as many words as fit on a line of a caption, and the rest."""
    if len(text) <= _PER_LINE:
        return text, ""
    end = text.rfind(" ", 0, _PER_LINE)
    end = end if end > 0 else _PER_LINE
    return text[:end], text[end:].lstrip()


def _empty_figure(message: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 1.2), dpi=_DPI)
    figure.text(0.5, 0.5, message, ha="center", va="center", fontsize=9, color=FAINT)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)  # needs no display and does not touch pyplot's state
    with replacing(path, "wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})
