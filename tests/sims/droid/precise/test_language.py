"""The sentences of the suite ``droid_precise``."""

from itertools import pairwise

import pytest

from headless_eval.sims.droid.precise.language import COLOURS, PRESS, WORDINGS, expand
from headless_eval.sims.perturbation import LEVELS


def _words(text):
    return {word.strip(",") for word in text.split()}


def test_a_template_has_every_combination():
    assert expand("(put|set) it down( here|)") == (
        "put it down here",
        "put it down",
        "set it down here",
        "set it down",
    )


@pytest.mark.parametrize("name", WORDINGS)
def test_training_and_held_out_sentences_are_disjoint(name):
    wording = WORDINGS[name]
    held_out = [text for level in wording.held_out for text in level]
    assert len(wording.held_out) == LEVELS
    assert len({*held_out}) == len(held_out)
    everywhere = {text for other in WORDINGS.values() for text in other.training}
    assert not everywhere & {*held_out}
    assert len({*wording.training}) == len(wording.training) > 100
    for text in (*wording.training, *held_out):
        assert text == text.strip().lower()
        assert "  " not in text
        assert not {*text} & {*"()|"}


@pytest.mark.parametrize("name", WORDINGS)
def test_the_first_level_has_words_of_training_alone_and_later_ones_new_words(name):
    known = set().union(*map(_words, WORDINGS[name].training))
    first, second, *_, last = WORDINGS[name].held_out
    assert all(_words(text) <= known for text in first)
    assert all(_words(text) - known for text in (*second, *last))


def test_a_sentence_asks_for_one_thing():
    asked = [text for wording in WORDINGS.values() for text in wording.training]
    assert len({*asked}) == len(asked)


def test_buttons_differ_in_their_colour_alone():
    swapped = [
        {
            text
            for text in PRESS[colour].training
            if not any(other in text for other in COLOURS if other != colour)
        }
        for colour in COLOURS
    ]
    plain = [
        {text.replace(colour, "X") for text in texts} for colour, texts in zip(COLOURS, swapped, strict=True)
    ]
    assert all(one == other for one, other in pairwise(plain))
