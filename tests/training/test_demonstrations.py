import numpy as np

from headless_eval.sims.droid.mujoco.simulator import SceneModel
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.training import demonstrations


def test_demonstrations_repeat_bit_by_bit():
    model = SceneModel(SCENES[1])
    first, second = (demonstrations.demonstrate(model, np.random.default_rng(4), 10, 96) for _ in range(2))
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_training_draws_from_other_streams_than_trials():
    # A trial's streams have spawn keys of their own: no seed of an evaluation can meet these.
    assert demonstrations._SPAWN_KEY > 100
