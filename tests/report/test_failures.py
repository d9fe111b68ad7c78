"""Counts of the reasons of failure."""

from dataclasses import replace

from record_cases import broken, record

from headless_eval.report.failures import UNTOLD, all_reasons, count_failures, failure_table
from headless_eval.results.outcomes import REASONS


def failed(reason, configuration="int4_both", phase="grasp", **changes):
    return record(
        configuration=configuration, status="failure", success=False, reason=reason, phase=phase, **changes
    )


RECORDS = [
    record(phase="place"),
    replace(broken(), episode=1),
    failed("dropped", "float32", "carry", episode=2),
    *(failed("missed_grasp", episode=number) for number in range(3)),
    failed("never_reached", phase="approach", episode=3),
    failed(None, phase=None, episode=4),
    record(configuration="int4_both", episode=5, phase="place"),
    failed("sang_a_song", episode=6, phase="opera"),
]


def test_reasons_are_counted_by_variant_and_errors_nowhere():
    float32, int4 = count_failures(RECORDS)
    assert (float32.configuration, float32.episodes, float32.failures) == ("float32", 2, 1)
    assert dict(float32.reasons) == {"dropped": 1}
    assert dict(float32.phases) == {"carry": 1, "place": 1}
    assert (int4.episodes, int4.failures) == (7, 6)
    assert dict(int4.reasons) == {"missed_grasp": 3, "never_reached": 1, "sang_a_song": 1, UNTOLD: 1}
    assert dict(int4.phases) == {"approach": 1, "grasp": 3, "place": 1, "opera": 1}


def test_the_order_is_that_of_the_reasons_then_others_then_the_untold():
    found = all_reasons(count_failures(RECORDS))
    assert found == ["never_reached", "missed_grasp", "dropped", "sang_a_song", UNTOLD]
    assert list(found[:3]) == [name for name in REASONS if name in found]


def test_a_run_whose_simulator_tells_nothing_has_no_counts():
    assert count_failures([record(), failed(None, phase=None)]) == ()
    assert count_failures([]) == ()


def test_the_terminals_table():
    table = failure_table("droid", count_failures(RECORDS))
    assert table is not None
    assert list(table.header)[:3] == ["precision", "failures", "never reached"]
    assert table.rows[0] == ["float32", "1", "", "", "1", "", ""]
    assert table.rows[1] == ["int4_both", "6", "1", "3", "", "1", "1"]


def test_the_terminals_table_has_no_rows_of_blanks():
    table = failure_table(
        "droid", count_failures([record(configuration="int8_both", phase="place"), *RECORDS])
    )
    assert table is not None
    assert [row[0] for row in table.rows] == ["float32", "int4_both"]


def test_nothing_failed():
    assert failure_table("droid", count_failures([record(phase="place")])) is None
    assert failure_table("droid", ()) is None
