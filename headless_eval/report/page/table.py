"""Tables of the page: wide ones scroll, and on a phone each row becomes a short paragraph."""

from collections.abc import Sequence

from headless_eval.report.page.markup import Markup, tag


def table(
    kind: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[tuple[str, str | None]]]]
) -> Markup:
    """Return a table; on a phone each row becomes a short paragraph of cells with their heads before them.

    Args:
        kind: its class.
        heads: the head of the rows' names, and those of the cells.
        rows: each row's name, and its cells with their class.
    """
    body = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            *(
                tag("td", cell, class_=look, data_label=head)
                for head, (cell, look) in zip(heads[1:], cells, strict=True)
            ),
        )
        for name, cells in rows
    ]
    return tag(
        "table",
        tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
        tag("tbody", *body),
        class_=f"{kind} stacked",
    )


def scrolling(content: Markup, label: str) -> Markup:
    """Return wide content in a box that scrolls sideways, also with the keyboard."""
    return tag("div", content, class_="scroll", tabindex=0, role="region", aria_label=label)
