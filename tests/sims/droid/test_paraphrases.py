"""Paraphrases of the DROID scenes: five lists each, none of them the instruction itself, none twice."""

from headless_eval.sims.droid.paraphrases import PARAPHRASES
from headless_eval.sims.droid.tasks import TASKS
from headless_eval.sims.perturbation import LEVELS


def test_every_instruction_has_five_lists_of_its_own():
    assert set(PARAPHRASES) == {task.instruction for task in TASKS}
    for instruction, lists in PARAPHRASES.items():
        assert len(lists) == LEVELS
        everything = [text for one in lists for text in one]
        assert len({instruction, *everything}) == 1 + len(everything)
        assert all(len(one) >= 3 for one in lists)
