"""PaliGemma, which the families of π0 build on: its vision tower, its language model and its tokenizer."""
