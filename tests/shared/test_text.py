from headless_eval.shared.text import bytes_text, plural, printable, spreadsheet_cell, uncapitalized


def test_numbers_have_their_units():
    assert [bytes_text(size) for size in (5, 2_000, 3.4e6, 7e9, 2e12)] == [
        "5 B",
        "2 kB",
        "3 MB",
        "7.0 GB",
        "2000.0 GB",
    ]
    assert [plural(number, "trial") for number in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]


def test_a_sentence_goes_on_with_a_small_letter():
    assert uncapitalized("Length of the way in SI units") == "length of the way in SI units"
    assert uncapitalized("") == ""


def test_what_a_terminal_would_obey_is_shown():
    assert printable("a\x1b[31mb\x9bc\r\n\td\udc80\u2066 ü") == "a\\x1b[31mb\\x9bc\\r\n\td\\udc80\\u2066 ü"


def test_a_spreadsheet_takes_no_text_for_a_formula():
    assert [
        spreadsheet_cell(value) for value in ("=1+1", "+a", "-a", "@a", "\ta", "a=1", "", "-0.5", -1, None)
    ] == [
        *("'=1+1", "'+a", "'-a", "'@a", "'\ta"),
        *("a=1", "", "-0.5", -1, None),
    ]
