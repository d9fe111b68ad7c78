import hashlib

import numpy as np
import pytest
import torch

from headless_eval.quant.hashing import add_tensor


@pytest.mark.parametrize("shape", [(), (3,), (2, 4), (0, 5)])
def test_a_hash_covers_label_shape_and_bytes(shape):
    values = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    digest = hashlib.sha256()
    add_tensor(digest, "name torch.float32", torch.from_numpy(values))
    expected = f"name torch.float32 {shape}\n".encode() + values.tobytes()
    assert digest.hexdigest() == hashlib.sha256(expected).hexdigest()


def test_the_layout_of_a_tensor_does_not_count():
    tensor = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)
    digests = []
    for layout in (tensor, tensor.t().contiguous().t()):
        digest = hashlib.sha256()
        add_tensor(digest, "name", layout)
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]
