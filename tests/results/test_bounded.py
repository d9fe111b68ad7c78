"""Outcomes between 0 and 1, and the sequential test that bets on them."""

import numpy as np
import pytest
from record_cases import CONFIGURATIONS, TASKS, manifest, record

from headless_eval.config.run import RunConfig
from headless_eval.errors import UserError
from headless_eval.results.bounded import Bounded, bounded
from headless_eval.results.sequential import MarginTest, SequentialTest
from headless_eval.results.stopping import stopping_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("time", Bounded("time", 1.0)),
        ("final_error=20mm", Bounded("final_error_mm", 20, "mm")),
        ("final_error=10°", Bounded("final_error_deg", 10, "°")),
        ("final_error_mm=20", Bounded("final_error_mm", 20, "mm")),
        ("path_length=30rad", Bounded("path_length", 30, "rad")),
        ("drops=3", Bounded("drops", 3, "")),
    ],
)
def test_an_outcome_is_named_with_its_limit(text, found):
    assert bounded(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("final_eror=20mm", "did you mean final_error"),
        ("smoothness=3", "unknown outcome of --sequential-on"),
        ("final_error=20", "give a limit above 0"),
        ("drops=0", "give a limit above 0"),
        ("final_error=20s", "give a limit above 0"),
        ("drops", "write OUTCOME=MARGIN"),
    ],
)
def test_what_has_no_limit_is_refused(text, said):
    with pytest.raises(UserError, match=said):
        bounded(text)


def test_an_episode_is_as_good_as_it_is_far_from_the_limit():
    error = bounded("final_error=20mm")
    values = [error.good(record(metrics={"final_error_mm": value})) for value in (0.0, 5.0, 20.0, 90.0)]
    assert values == [1.0, 0.75, 0.0, 0.0]
    assert error.good(record()) is None
    time = bounded("time")
    failure = record(steps=100, status="failure", success=False)
    assert time.good(record(steps=90, max_steps=450)) == pytest.approx(0.8)
    assert time.good(failure) == 0.0


def fed(values, sequential_on="final_error=20mm", margin=0.1):
    stopping = stopping_of(
        manifest(
            tasks=TASKS[1:],
            episodes=len(values),
            settings={"sequential": margin, "sequential_on": sequential_on},
        )
    )
    for episode, pair in enumerate(values):
        for variant, value in zip(CONFIGURATIONS, pair, strict=True):
            metrics = None if value is None else {"final_error_mm": value}
            stopping.add(record(configuration=variant.name, episode=episode, metrics=metrics))
    return stopping.stops[CONFIGURATIONS[1].name]


def test_a_run_stops_on_an_outcome_though_everything_succeeds():
    stop = fed([(2.0, 14.0)] * 60)
    assert stop.decision == "worse"
    assert stop.pairs < 20
    assert stop.sentence == f"worse than float32 in final_error_mm after {stop.pairs} pairs"
    same = fed([(2.0, 2.0)] * 100)
    assert same.decision == "not_worse"
    assert same.sentence == f"not worse than float32 by 2 mm in final_error_mm after {same.pairs} pairs"
    assert fed([(2.0, 2.0), (None, 3.0), (2.0, None), (2.0, 2.0)]).pairs == 2


def test_a_bet_on_zeros_and_ones_is_that_on_success():
    generator = np.random.default_rng(1)
    by_number, by_success = SequentialTest(), SequentialTest()
    for one, other in generator.random((50, 2)) < 0.6:
        by_number.update(float(one), float(other))
        by_success.update(bool(one), bool(other))
    assert by_number.evidence_worse == by_success.evidence_worse
    assert by_number.evidence_not_worse == by_success.evidence_not_worse


@pytest.mark.parametrize(("drop", "decision"), [(0.0, "worse"), (0.1, "not_worse")])
def test_bets_on_a_bounded_outcome_are_rarely_wrong_however_often_they_are_looked_at(drop, decision):
    generator, runs, wrong = np.random.default_rng(2), 200, 0
    for _ in range(runs):
        test = SequentialTest(alpha=0.05, margin=0.1)
        for one, noise in zip(generator.uniform(0.5, 0.8, 100), generator.normal(0, 0.1, 100), strict=True):
            test.update(one, float(np.clip(one - drop + noise, 0, 1)))
        wrong += test.decision == decision
    assert wrong / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_a_margin_test_takes_parts_of_an_episode():
    test = MarginTest(alpha=0.05, margin=0.05)
    for _ in range(200):
        test.update(0.5, 0.48)
    assert test.decision == "within"


def test_an_outcome_needs_a_margin():
    with pytest.raises(UserError, match="--sequential-on goes with --sequential MARGIN only"):
        RunConfig(sequential_on="time")


def test_an_unknown_outcome_is_told_each_name_once():
    with pytest.raises(UserError, match="unknown outcome of --sequential-on 'final_eror'") as told:
        bounded("final_eror=20mm")
    assert str(told.value).split("There are: ")[1].split(", ").count("final_error") == 1
