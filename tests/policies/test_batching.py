"""Batching when the memory of the GPU is full: batches are halved."""

import time

import numpy as np
import pytest
import torch

from headless_eval.local_policy import LocalPolicy


class Hungry:
    """A policy that has memory for batches of two."""

    noise_shape = (4, 3)

    def __init__(self):
        self.batches = []

    def infer(self, obs, noise):
        return self.infer_batch([obs], noise[None])[0]

    def infer_batch(self, observations, noise):
        self.batches.append(len(observations))
        if len(observations) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [{"actions": one * 2} for one in noise]


def test_without_memory_the_batch_is_halved_and_the_rest_goes_on(caplog):
    noise = np.random.default_rng(0).standard_normal((5, 4, 3), np.float32)
    with LocalPolicy(Hungry(), "hungry", max_batch=8) as local:
        replies = local.infer_batch([{"prompt": "go"}] * 5, noise)
        np.testing.assert_array_equal([reply["actions"] for reply in replies], 2 * noise)
        assert local.batch == local.describe()["batch"] == 2
        assert local.policy.batches[:2] == [8, 4]
        assert "memory is full; batches of 2" in caplog.text


def test_without_memory_for_one_it_is_an_error():
    class Starving(Hungry):
        def infer_batch(self, observations, noise):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with LocalPolicy(Starving(), "starving") as local, pytest.raises(torch.OutOfMemoryError):
        local.infer({"prompt": "go"}, np.zeros((4, 3), np.float32))


class Linear(torch.nn.Module):
    noise_shape = (4, 3)

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def infer(self, obs, noise):
        return self.infer_batch([obs], noise[None])[0]

    def infer_batch(self, observations, noise):
        actions = self(torch.as_tensor(noise))
        return [{"actions": one.numpy()} for one in actions]

    def forward(self, x):
        return x * self.weight


def test_a_change_whose_rows_depend_on_each_other_is_inferred_one_by_one(tmp_path, caplog):
    path = tmp_path / "mine.py"
    path.write_text(
        "def whole(model):\n    model.register_forward_hook(lambda module, args, output: output / output.abs().amax())"
    )
    noise = np.random.default_rng(0).standard_normal((5, 4, 3), np.float32)
    with LocalPolicy(Linear(), "linear", max_batch=4) as local:
        local.infer_batch([{"prompt": "go"}] * 5, noise)
        assert local.batch == 4
        local.set_precision(f"{path}:whole")
        for one, reply in zip(noise, local.infer_batch([{"prompt": "go"}] * 5, noise), strict=True):
            np.testing.assert_array_equal(reply["actions"], one / abs(one).max())
        assert local.batch == 1
        assert "rows of a batch depend on each other" in caplog.text
        local.set_precision("float32")
        assert local.batch == 4


class OneBuffer:
    """Computes every reply in the same memory, as wrappers of TensorRT and CUDA graphs do."""

    def __init__(self):
        self._actions = np.zeros((8, 2), np.float32)

    def infer(self, obs):
        self._actions[:] = obs["number"]
        time.sleep(0.001)  # long enough for another thread to write
        return {"actions": self._actions}


class OneBufferStateless(OneBuffer):
    stateless = True


@pytest.mark.parametrize("cls", [OneBuffer, OneBufferStateless])
@pytest.mark.parametrize("slots", [1, 3])
def test_replies_that_share_one_buffer_are_kept_apart(cls, slots):
    with LocalPolicy(cls(), "buffer") as local:
        first, second = (
            local.infer_batch([{"number": start + slot} for slot in range(slots)], slots=list(range(slots)))
            for start in (1, 11)
        )
    for start, replies in ((1, first), (11, second)):
        assert [reply["actions"].min() for reply in replies] == list(range(start, start + slots))
        assert [reply["actions"].max() for reply in replies] == list(range(start, start + slots))
