"""A sentence about each variant."""

from collections.abc import Callable

from headless_eval.contracts.simulator import Task
from headless_eval.report import summarize
from headless_eval.report.verdict import verdicts
from headless_eval.results import EpisodeRecord


def test_sentences(records: list[EpisodeRecord]) -> None:
    told = {one.configuration: one for one in verdicts(summarize("droid", records))}
    assert told["float32"].kind == "reference"
    assert told["float32"].sentence.startswith(
        "succeeds in 8 of 9 episodes: 89\xa0% (95\xa0% interval 57 to 98"
    )
    one = told["float8_e4m3_weights_only"]
    assert (one.kind, one.sentence.split(":")[0]) == ("undecided", "is not shown to differ from float32")
    assert "−44 points (−75 to +7, p\xa0=\xa00.44); 9 paired episodes are too few" in one.sentence


def test_kinds(record_maker: Callable[..., EpisodeRecord]) -> None:
    task = Task(1, "scene_1", "cube in bowl", "put the cube in the bowl", 450)
    letters = {
        "float32": "s" * 20 + "f" * 20,
        "int8_both": "f" * 40,
        "int16_both": "s" * 40,
        "bfloat16_both": "s" * 20 + "f" * 20,
        "boolean_both": "e" * 40,
    }
    records = [
        record_maker(name, task, episode, letter)
        for name, outcomes in letters.items()
        for episode, letter in enumerate(outcomes)
    ]
    kinds = [one.kind for one in verdicts(summarize("droid", records))]
    assert kinds == ["reference", "worse", "better", "same", "nothing"]
    alone = verdicts(summarize("droid", [one for one in records if one.configuration == "int8_both"]))
    assert [one.kind for one in alone] == ["nothing"]
