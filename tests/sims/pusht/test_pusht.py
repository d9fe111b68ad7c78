"""Push-T in gym-pusht's own environment.

It is installed beside this package's libraries: ``pip install 'headless-eval[pusht]'``.
"""

import sys

import pytest

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
