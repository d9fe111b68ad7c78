"""Tables for people: readable at any width, nothing cut off."""

import io

import pytest
from rich.console import Console

from headless_eval.cli.main import main
from headless_eval.shared.terminal import Listing, SafeConsole, new_console, write_what_fits

NAME = "float8_e5m2_activations_only"
LISTING = Listing(
    ("precision", "success", "rate", "difference", "spare"),
    [(NAME, "120/120", "100 [97, 100]", "−100 [−100, −97]", "1234567"), ("float32", "1/1", "9", "", "1")],
    title="a title that is longer than the narrowest of the terminals",
    legend={"rate": "Rate: in percent.", "spare": "Spare: can go."},
    note="And a note.",
    spare=(("spare",),),
)


def shown(width):
    file = io.StringIO()
    Console(file=file, width=width).print(LISTING)
    return file.getvalue()


@pytest.mark.parametrize("width", [200, 80, 60, 30])
def test_nothing_is_cut_at_any_width(width):
    text = shown(width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert all(line == line.rstrip() for line in text.splitlines()[1:-1])
    letters = "".join(text.split())
    assert LISTING.title.replace(" ", "") in letters
    for cell in ("120/120", "100[97,100]"):
        assert cell in letters or width < 80  # folded, its lines stand beside those of others
    assert NAME in text or width == 30


def test_columns_that_do_not_fit_go_with_their_legend():
    assert "1234567" in shown(100)
    assert "Spare: can go." in shown(100)
    assert "1234567" not in shown(75)
    assert "Spare" not in shown(75)
    assert "Rate: in percent. And a note." in shown(75)


def test_without_a_terminal_a_line_has_no_end(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    new_console().print("word " * 500)
    assert capsys.readouterr().out.count("\n") == 1
    monkeypatch.setenv("COLUMNS", "80")
    assert new_console().width == 80


@pytest.mark.parametrize("columns", [None, "80"])
def test_list_names_every_option_of_a_method(monkeypatch, capsys, columns):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert "duquant_w4a8[_b64][_steps16]" in out
    assert columns or "[_noclip][_all]" in out  # on 80 columns it goes on in a line below


def test_brackets_are_no_markup(capsys):
    new_console().print("runs/[a]/x [/b]")
    assert capsys.readouterr().out == "runs/[a]/x [/b]\n"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", b"50 ? of \xff?"), ("latin-1", b"50 ? of \xff\xfc"), ("utf-8", "50 – of ".encode() + b"\xff\xc3\xbc")],
)  # fmt: skip
def test_any_text_can_be_written_in_any_encoding(monkeypatch, encoding, shown):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding=encoding, errors="strict"))
    write_what_fits()
    print("50 – of \udcffü", end="", flush=True)  # the third is a byte of a file's name
    assert raw.getvalue() == shown
    print("\ud800", end="", flush=True)  # half of a character, which no name of a file has
    assert raw.getvalue() == shown + b"?"


def test_names_bring_no_escape_sequences_to_the_terminal():
    evil = "\x1b]0;owned\x07\x1b[2Jname\x9b1A\r"
    file = io.StringIO()
    console = SafeConsole(file=file, width=200, force_terminal=True, color_system="standard", markup=False)
    console.print(Listing((evil, "b"), [(evil, "1")], title=evil, styles=["red"]))
    console.print(evil, highlight=False)
    text = file.getvalue()
    assert "\x1b[31m" in text, "the console's own colours stay"
    assert r"\x1b]0;owned\x1b[2Jname\x9b1A" in text
    for sequence in ("\x1b]", "\x07", "\x1b[2J", "\x9b", "\r"):
        assert sequence not in text
