"""Arrays of orbax, whatever they are of; how they are read is tested with openpi's checkpoints."""

import json

import numpy as np
import pytest

from headless_eval.checkpoints.orbax import is_orbax, open_arrays
from headless_eval.errors import UserError
from headless_eval.policies.paligemma.config import MOST_LAYERS
from headless_eval.policies.pi0.formats.openpi_jax import stored_parameters

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


def write(folder, name, shape, chunks):
    """Write the description of an array, without its content, as anybody may."""
    (folder / name).mkdir()
    facts = {"shape": shape, "chunks": chunks, "dtype": "<f4", "compressor": {"id": "zstd", "level": 1}}
    facts |= {"zarr_format": 2, "order": "C", "filters": None, "fill_value": None, "dimension_separator": "."}
    (folder / name / ".zarray").write_text(json.dumps(facts))
    (folder / "_METADATA").write_text('{"store_array_data_equal_to_fill_value": true}')


def test_pieces_beyond_measure_are_refused(tmp_path):
    write(tmp_path, "a", [2, 3], [2**40, 2**20])
    with pytest.raises(UserError, match="in pieces that are larger than it"):
        open_arrays(tmp_path)


def test_pieces_beyond_number_are_not_counted_one_by_one(tmp_path):
    write(tmp_path, "a", [2**20, 2**20], [1, 1])
    (array,) = open_arrays(tmp_path).values()
    assert len(array.tiles()) == 1


def test_layers_beyond_number_are_not_listed(tmp_path):
    (tmp_path / "params").mkdir()
    write(tmp_path / "params", "params.PaliGemma.llm.layers.mlp.linear", [2**40, 8, 8], [1, 8, 8])
    assert len(stored_parameters(tmp_path / "params")) == MOST_LAYERS + 1
