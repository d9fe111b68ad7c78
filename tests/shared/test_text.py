from headless_eval.shared.text import bytes_text, plural


def test_numbers_have_their_units():
    assert [bytes_text(size) for size in (5, 2_000, 3.4e6, 7e9, 2e12)] == [
        "5 B",
        "2 kB",
        "3 MB",
        "7.0 GB",
        "2000.0 GB",
    ]
    assert [plural(number, "trial") for number in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]
