"""Arrays of orbax, whatever they are of; how they are read is tested with openpi's checkpoints."""

import numpy as np
import pytest

from headless_eval.checkpoints.orbax import is_orbax, open_arrays
from headless_eval.errors import UserError

tensorstore = pytest.importorskip("tensorstore")


def test_arrays_are_found_by_their_paths(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": f"{tmp_path}/layer.weight"},
        "metadata": {"shape": [2, 3], "dtype": "<f4", "compressor": {"id": "zstd", "level": 1}},
    }
    tensorstore.open(spec, create=True).result()[...] = values
    (tmp_path / "_METADATA").write_text("{}")
    assert is_orbax(tmp_path)
    (name, array), *others = open_arrays(tmp_path).items()
    assert (name, others) == ("layer.weight", [])
    np.testing.assert_array_equal(array.read().numpy(), values)


def test_a_folder_without_arrays(tmp_path):
    assert not is_orbax(tmp_path)
    with pytest.raises(UserError, match="holds no arrays"):
        open_arrays(tmp_path)
