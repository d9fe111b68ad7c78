"""The page's section on how episodes fail."""

from headless_eval.report.failures import Failures
from headless_eval.report.page.failures import failures_section

RUN = (
    Failures("float32", 10, {}, {"place": 10}),
    Failures("int4_both", 10, {"missed_grasp": 3, "dropped": 1}, {"grasp": 3, "carry": 1, "place": 6}),
    Failures("<b>", 0, {}, {}),
)


def test_reasons_are_drawn_and_listed():
    page = str(failures_section(RUN))
    assert 'id="failures"' in page
    assert "int4_both: missed grasp, 3 of 10" in page
    assert 'width="30%"' in page
    assert 'x="30%"' in page
    assert "float32, 10 episodes: none failed." in page
    assert "4 of 10" in page
    assert "Missed grasp: the gripper came near the target and never held it." in page
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_phases_are_listed():
    page = str(failures_section(RUN))
    assert "How far episodes came" in page
    assert page.index(">grasp<") < page.index(">carry<") < page.index(">place<")


def test_without_failures_only_phases_are_shown():
    page = str(failures_section(RUN[:1]))
    assert "No episode failed." in page
    assert "<svg" not in page
    assert "place" in page


def test_a_run_whose_simulator_tells_nothing_has_no_section():
    assert str(failures_section(())) == ""


def test_more_reasons_than_colours_can_be_drawn():
    reasons = {f"reason_{number}": 1 for number in range(12)}
    assert str(failures_section([Failures("int4", 12, reasons, {})])).count('class="base"') >= 4
