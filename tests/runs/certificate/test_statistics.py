"""The statistics follow from the episodes; whatever else is stated is found."""

import pytest

from headless_eval.runs.certificate.document import decode
from headless_eval.runs.certificate.statistics import (
    first_difference,
    missing_trials,
    rate_lines,
    statistics_of,
    summary_of,
)


@pytest.fixture
def certificate(certified):
    """Two variants of 6 episodes; the second loses 1 of the first's 3 successes."""
    found = decode(certified.read_bytes(), certified)
    (variant,) = found.variants
    other = decode(certified.read_bytes(), certified)
    other.variants[0].name = variant.name + "_other"
    for episode in other.episodes:
        episode.variant = other.variants[0].name
    for episode in found.episodes[:3] + other.episodes[:2]:
        episode.status = "success"
    found.variants += other.variants
    found.episodes += other.episodes
    found.statistics = statistics_of(found)
    return found


def test_rows_and_lines(certificate):
    rows = {(row["variant"], row["task"]): row for row in certificate.statistics}
    assert rows["float32", None]["successes"] == 3
    assert rows["float32_other", None] | {"pairs": 6, "lost": 1, "gained": 0} == rows["float32_other", None]
    first, second = rate_lines(summary_of(certificate))
    assert first == "float32: 3 of 6 succeed, 50.0 % [18.8, 81.2]"
    assert second.startswith(
        "float32_other: 2 of 6 succeed, 33.3 % [9.7, 70.0]; against float32 -16.7 points ["
    )


@pytest.mark.parametrize("value", [None, True, "2", 3, [2], 2.5])
def test_any_other_value_of_a_count_is_found(certificate, value):
    certificate.statistics[-1]["successes"] = value
    assert "float32_other, all tasks: successes" in first_difference(
        certificate.statistics, statistics_of(certificate)
    )


def test_last_bits_of_a_float_may_differ_and_rows_may_not(certificate):
    found = statistics_of(certificate)
    certificate.statistics[-1]["interval"][0] += 1e-12
    assert first_difference(certificate.statistics, found) is None
    certificate.statistics[-1]["interval"][0] += 1e-3
    assert "interval" in first_difference(certificate.statistics, found)
    assert "not stated" in first_difference(found[:-1], found)
    assert "no episode is of" in first_difference([*found, found[0]], found)
    assert "better" in first_difference([{**found[0], "better": 1}, *found[1:]], found)


def test_missing_trials(certificate):
    assert missing_trials(certificate) == 0
    certificate.episodes.pop()
    assert missing_trials(certificate) == 1


def test_a_sequential_run_lacks_nothing_after_its_decision(certificate):
    for episode in certificate.episodes:
        episode.status = "success"
    certificate.sequential = 0.9
    assert [row.get("sequential") for row in statistics_of(certificate)] == [*[None] * 5, "not_worse"]
    last = certificate.episodes.pop()
    assert missing_trials(certificate) == 0
    certificate.episodes = [one for one in certificate.episodes if one.episode < last.episode]
    certificate.sequential = 0.01  # for which 6 pairs decide nothing
    assert missing_trials(certificate) == 4
