"""Paraphrases of both suites: five lists for each instruction, none of them the instruction itself, none twice."""

import pytest

from headless_eval.sims.perturbation import LEVELS
from headless_eval.sims.registry import find_suite


@pytest.mark.parametrize("name", ["droid", "droid_precise"])
def test_every_instruction_has_five_lists_of_its_own(name):
    suite = find_suite(name)
    paraphrases = suite.load_paraphrases()
    if name == "droid":
        assert {task.instruction for task in suite.load_tasks()} == set(paraphrases)
    for instruction, lists in paraphrases.items():
        assert len(lists) == LEVELS
        everything = [text for one in lists for text in one]
        assert len({instruction, *everything}) == 1 + len(everything)
        assert all(lists)
