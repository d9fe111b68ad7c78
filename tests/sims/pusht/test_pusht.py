"""Push-T in gym-pusht's own environment.

It is installed beside this package's libraries: ``pip install 'headless-eval[pusht]'``.
"""

import re
import sys

import pytest
from paths import ROOT

from headless_eval import UserError, evaluate
from headless_eval.sims.registry import find_suite


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gym_pusht", None)
    with pytest.raises(UserError, match=r"pip install 'headless-eval\[pusht\]'"):
        find_suite("pusht").make()


@pytest.mark.pusht
class TestPushT:
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip(
            "gym_pusht", reason="gym-pusht is not installed: pip install 'headless-eval[pusht]'"
        )

    def test_any_number_of_slots_gives_the_same_actions(self, tmp_path):
        settings = {"suite": "pusht", "episodes": 3, "max_steps": 40, "videos": "none"}
        one, three = (
            evaluate("random", **settings, slots=slots, results=tmp_path / f"{slots}").records()
            for slots in (1, 3)
        )
        assert [record.actions_sha256 for record in one] == [record.actions_sha256 for record in three]
        assert {record.steps for record in one} == {40}
        assert all("coverage" in record.metrics for record in one)

    def test_the_suite_of_the_documentation_runs(self, tmp_path):
        page = (ROOT / "docs" / "bring_your_own.md").read_text("utf-8")
        (example,) = (text for text in re.findall(r"```python\n(.*?)```", page, re.S) if "GymSuite(" in text)
        (tmp_path / "push_t.py").write_text(example)
        settings = {"episodes": 1, "max_steps": 8, "videos": "none"}
        suites = ("pusht", f"{tmp_path / 'push_t.py'}:SUITE")
        runs = [
            evaluate("zero", **settings, suite=suite, results=tmp_path / f"{i}")
            for i, suite in enumerate(suites)
        ]
        assert runs[1].manifest["suite"] == "push_t"
        ours, theirs = (run.records()[0] for run in runs)
        assert ours.actions_sha256 == theirs.actions_sha256
        assert ours.status == theirs.status == "failure"
