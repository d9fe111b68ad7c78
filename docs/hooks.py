"""Hooks of mkdocs: the page of commands is written from their flags."""

import os
import re
from contextlib import redirect_stdout, suppress
from io import StringIO

from headless_eval.cli.commands import GROUPS, overview
from headless_eval.cli.main import main

_MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the help of every command where the page has the mark."""
    if _MARK not in markdown:
        return markdown
    os.environ["COLUMNS"] = "100"
    parts = [f"```text\n{overview()}\n```"]
    for group, commands in GROUPS.items():
        parts += [f"## {group}", *(f"### {name}\n\n```text\n{_help(name)}\n```" for name in commands)]
    return markdown.replace(_MARK, "\n\n".join(parts))


def _help(name: str) -> str:
    said = StringIO()
    with redirect_stdout(said), suppress(SystemExit):
        main([name, "--help"])
    return re.sub(r"\s+$", "", said.getvalue())
