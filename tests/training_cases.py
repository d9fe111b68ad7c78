"""Observations that the tests of training use instead of demonstrations."""

import numpy as np


def random_observations(number, dims):
    """Return the arrays of a block's file with random contents."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (number, 96, 96, 3), dtype=np.uint8)
    return {
        "exterior": pictures,
        "wrist": pictures,
        "state": generator.uniform(-1, 1, (number, 8)).astype(np.float32),
        "actions": generator.uniform(-1, 1, (number, 10, dims)).astype(np.float32),
        "valid": np.ones((number, 10), bool),
        "scene": np.ones(number, np.int64),
    }
