"""Error messages for unknown names."""

import pytest

from headless_eval.shared.suggest import nearest, unknown

NAMES = ["droid", "libero_object", "libero_goal"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("droit", "droid"),
        ("DROID", "droid"),
        ("libero_o", "libero_object"),
        ("libero", "libero_object"),  # the first that begins so
        ("", None),
        ("xyz", None),
    ],
)
def test_the_nearest_name(name, expected):
    assert nearest(name, NAMES) == expected


def test_a_higher_cutoff_asks_for_more_likeness():
    assert nearest("libro_gaol", NAMES) == "libero_goal"
    assert nearest("libro_gaol", NAMES, cutoff=0.95) is None


def test_the_message_suggests_and_lists_all():
    listed = "droid, libero_object, libero_goal"
    assert str(unknown("suite", "droit", NAMES)) == (
        f"unknown suite 'droit': did you mean droid? There are: {listed}"
    )
    assert str(unknown("suite", "xyz", iter(NAMES))) == f"unknown suite 'xyz'; there are: {listed}"
    assert str(unknown("suite", "xyz", [])) == "unknown suite 'xyz'; there are: none"
