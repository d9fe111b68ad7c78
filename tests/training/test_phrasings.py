"""The sentences that training draws from."""

from collections import Counter

import numpy as np

from headless_eval.policies.paligemma.tokenizer import Tokenizer
from headless_eval.sims.droid.precise.language import WORDINGS
from headless_eval.training.export import instruction_tokens
from headless_eval.training.phrasings import WORDS, phrasings
from headless_eval.training.recipes import TRAINABLE
from headless_eval.training.sources import SOURCES, find_source

CONFIG = TRAINABLE["pi0-precise-tiny"]


def test_a_quarter_is_the_instruction_and_a_quarter_has_one_stray_word():
    found = phrasings("press red", ["press red", "push the red one"], 100, np.random.default_rng(0))
    assert len(found) == 100
    assert found[:25] == ("press red",) * 25
    assert Counter(found[25:75]) == {"press red": 25, "push the red one": 25}
    for sentence in found[75:]:
        parts = sentence.split()
        assert any(
            part in WORDS
            and [*parts[:at], *parts[at + 1 :]] in (["press", "red"], ["push", "the", "red", "one"])
            for at, part in enumerate(parts)
        )


def test_every_stray_word_is_used_before_one_is_repeated():
    found = phrasings("x", ["x"], 4 * len(WORDS), np.random.default_rng(0))
    assert Counter(word for text in found for word in text.split() if word != "x") == Counter(WORDS)


def test_the_tokenizer_knows_held_out_sentences_as_far_as_training_reaches(tmp_path):
    """All pieces of the levels 1 to 3 are met in training; no level falls back to bytes or is cut off."""
    sentences = find_source(CONFIG).sentences(0)
    tokenizer, tokens = instruction_tokens(CONFIG, sentences, tmp_path / "tokenizer.model")
    assert tokens.shape == (len(WORDINGS), 1024, CONFIG.model.max_token_len, 2)
    assert not tokens[:, :, -1, 1].any()
    met = set(tokens[..., 0].flatten().tolist())
    pieces = Tokenizer(tmp_path / "tokenizer.model")._pieces
    for wording in WORDINGS.values():
        for level, texts in enumerate(wording.held_out, 1):
            for text in texts:
                found = tokenizer.prompt_tokens(text)
                assert len(found) <= CONFIG.model.max_token_len, text
                assert not any(pieces.is_byte(token) for token in found), text
                assert level > 3 or {*found} <= met, text


def test_where_a_task_has_one_sentence_it_is_the_only_one():
    assert SOURCES["droid"].sentences(0) == [(task.instruction,) for task in SOURCES["droid"].tasks]
