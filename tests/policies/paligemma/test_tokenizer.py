import logging

import numpy as np
import pytest
import sentencepiece

from headless_eval.errors import UserError
from headless_eval.policies.paligemma.tokenizer import Tokenizer, train_tokenizer

PROMPTS = ["put the cube in the bowl", "put the can in the mug", "put banana in the bin"]


def test_training_is_deterministic_and_covers_every_text(tmp_path):
    for name in ("a.model", "b.model"):
        train_tokenizer(PROMPTS, tmp_path / name, 300)
    assert (tmp_path / "a.model").read_bytes() == (tmp_path / "b.model").read_bytes()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "a.model"))
    assert (pieces.pad_id(), pieces.eos_id(), pieces.bos_id(), pieces.unk_id()) == (0, 1, 2, 3)
    assert 260 < pieces.vocab_size() <= 300
    for text in [*PROMPTS, "Öffne die Tür 7  times\n", "箱"]:
        tokens = pieces.encode(text)
        assert pieces.unk_id() not in tokens
        assert pieces.decode(tokens) == text
    assert len(pieces.encode("\n")) == 1
    # Whole words, so that prompts fit a few slots.
    assert pieces.encode(PROMPTS[0], out_type=str) == ["put", "▁the", "▁cube", "▁in", "▁the", "▁bowl"]


def test_a_flipped_byte_is_one_line_or_another_tokenizer(tmp_path):
    train_tokenizer(PROMPTS, tmp_path / "whole.model", 300)
    whole, damaged = (tmp_path / "whole.model").read_bytes(), tmp_path / "damaged.model"
    refused = 0
    for place in range(0, len(whole), 41):
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0x83]) + whole[place + 1 :])
        try:
            Tokenizer(damaged).prompt_tokens(PROMPTS[0])
        except UserError as error:
            refused += "\n" not in str(error)
    assert refused > 20


def test_pi0_prompts_end_in_a_line_break(tokenizer):
    tokens, mask = tokenizer.slots(" put_the cube\nin the bowl ", None, 16)
    expected = tokenizer.prompt_tokens("put the cube in the bowl")
    assert expected[0] == 2
    assert tokens.dtype == np.int64
    assert tokens[mask].tolist() == expected
    assert not tokens[~mask].any()
    assert mask.sum() == len(expected)
    newline = tokenizer.prompt_tokens("")
    assert expected[-1:] == newline[-1:]


def test_pi05_prompts_hold_the_state_in_256_bins(tokenizer):
    state = np.array([-1.5, -1, -0.999, 0, 0.9999, 1, 2])
    text = "Task: put the cube in the bowl, State: -1 0 0 128 255 255 255;\nAction: "
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer.path))
    assert tokenizer.prompt_tokens("put the cube in the bowl", state) == pieces.encode(text, add_bos=True)


def test_prompts_beyond_the_slots_are_cut_with_one_warning(tokenizer, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            tokens, mask = tokenizer.slots("put the cube in the bowl " * 4, None, 10)
    assert mask.all()
    assert tokens.tolist() == tokenizer.prompt_tokens("put the cube in the bowl " * 4)[:10]
    assert caplog.text.count("has 10") == 1


def test_files_that_are_no_tokenizers(tmp_path, tokenizer):
    with pytest.raises(UserError, match="no tokenizer at"):
        Tokenizer(tmp_path / "none.model")
    for content in (b"no model", tokenizer.model_bytes[:100], b""):
        (tmp_path / "bad.model").write_bytes(content)
        with pytest.raises(UserError, match=r"bad\.model"):
            Tokenizer(tmp_path / "bad.model")
