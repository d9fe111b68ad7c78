"""The page's drawings of graded tasks."""

import re

import pytest
from graded_cases import graded_manifest, graded_records, graded_tasks

from headless_eval.report.page.curves import curves_section
from headless_eval.report.psychometric import curves_of, say_shift, say_threshold

THRESHOLDS = {"float32": 1.0, "int4_both": 2.4}


def curves(tasks, thresholds=THRESHOLDS):
    return curves_of(
        graded_records(thresholds, tasks, 20), graded_manifest(tasks, list(thresholds)), "float32"
    )


def test_each_family_has_a_drawing_with_a_curve_per_variant_and_its_sentences():
    found = curves([*graded_tasks(), *graded_tasks("thread", (4.0, 2.0), 41)])
    section = curves_section(found, "float32")
    assert section.count("<figure>") == 2
    assert section.count("<polyline") == 4
    for one in found:
        assert say_shift(one, "float32") in section
        assert f"{one.configuration}: {say_threshold(one)}." in section
    worse = [one for one in found if one.differs]
    assert section.count('<li class="worse">') == len(worse) > 0


def test_hard_levels_lie_at_the_right_and_rare_successes_low():
    section = curves_section(curves(graded_tasks()), "float32")
    places = re.findall(
        r'<circle class="c0" cx="([\d.]+)%" cy="([\d.]+)"[^>]*><title>float32, ([\d.]+) mm: (\d+)/20', section
    )
    assert len(places) == 5
    by_level = sorted((float(level), float(x), float(y), int(wins)) for x, y, level, wins in places)
    assert [x for _, x, _, _ in by_level] == sorted((x for _, x, _, _ in by_level), reverse=True)
    for _, _, y, wins in by_level:
        assert y == pytest.approx(6 + 188 * (1 - wins / 20), abs=0.01)


def test_more_variants_than_colours_share_them():
    section = curves_section(curves(graded_tasks(), {f"v{number}": 1.0 for number in range(10)}), "v0")
    assert section.count('class="c1"') >= 2


def test_without_graded_tasks_there_is_no_section():
    assert curves_section((), "float32") is None
