"""openpi's JAX checkpoints: the reference's actions, real shapes, and what is refused."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from pi0_cases import GOLDEN, load_golden

from headless_eval.checkpoints import orbax
from headless_eval.checkpoints.sources import as_bytes
from headless_eval.errors import UserError
from headless_eval.policies.pi0.checkpoint import load_model
from headless_eval.policies.pi0.config import CONFIGS
from headless_eval.policies.pi0.formats.names import is_unread
from headless_eval.policies.pi0.formats.openpi_jax import _parts, stored_parameters
from headless_eval.policies.pi0.model import Pi0

tensorstore = pytest.importorskip("tensorstore", reason="tensorstore is not installed (extra openpi)")

CPU = torch.device("cpu")


@pytest.fixture(params=["pi0_droid", "pi0_libero", "pi05_droid", "pi05_libero"])
def jax_case(request):
    return load_golden("openpi_jax", request.param)


@pytest.fixture
def copied(tmp_path):
    case = load_golden("openpi_jax", "pi0_droid")
    shutil.copytree(case.folder / "checkpoint", tmp_path / "checkpoint", copy_function=shutil.copyfile)
    return case.config.model, tmp_path / "checkpoint"


def _refusal(config, folder) -> str:
    with pytest.raises(UserError) as caught:
        load_model(config, folder, CPU, torch.float32)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_and_shapes_are_those_of_the_model(jax_case):
    config = jax_case.config.model
    tree = json.loads((jax_case.folder / "param_tree.json").read_text())
    _agree(config, tree)


@pytest.mark.parametrize(("name", "file"), [("pi0_droid", "pi0"), ("pi05_droid", "pi05")])
def test_full_size_names_and_shapes_are_those_of_the_model(name, file):
    path = GOLDEN / "full_size" / f"{file}_jax_params.json"
    if not path.is_file():
        pytest.skip(f"no golden data at {path}")
    tree = {key: shape for key, (shape, _) in json.loads(path.read_text()).items()}
    _agree(CONFIGS[name].model, tree)


def _agree(config, tree) -> None:
    with torch.device("meta"):
        wanted = {name: tuple(value.shape) for name, value in Pi0(config).state_dict().items()}
    found = {
        ours: tuple(transform(torch.empty(shape, device="meta")[index]).shape)
        for theirs, shape in tree.items()
        for ours, index, transform in _parts(theirs, tuple(shape))
    }
    assert {name: shape for name, shape in found.items() if not is_unread(name, config)} == wanted


def test_no_jax_is_imported(jax_case):
    load_model(jax_case.config.model, jax_case.folder / "checkpoint", CPU, torch.float32)
    assert not {"jax", "orbax"} & set(sys.modules)


def test_each_array_is_read_once_and_the_largest_come_first(jax_case, monkeypatch):
    sizes = []
    open_one = orbax._Chunk.open

    def count(array):
        sizes.append(array.nbytes)
        return open_one(array)

    monkeypatch.setattr(orbax._Chunk, "open", count)
    load_model(jax_case.config.model, jax_case.folder / "checkpoint", CPU, torch.float32)
    tree = json.loads((jax_case.folder / "param_tree.json").read_text())
    assert sizes == sorted(sizes, reverse=True)
    # The language model's final norm is not read.
    assert len(sizes) == len(tree) - 1


def _rewrite(
    folder, change=lambda name, array: array, prefix="params.", suffix="", driver="zarr", chunks=None
):
    """Write the arrays of a checkpoint's params anew, under other names, with changed content.

    ``chunks``, of an array's shape: as orbax compresses them; None: as tensorstore does by itself.
    """
    params = folder / "params"
    old = {"driver": "ocdbt", "base": f"file://{params}/"}
    store = tensorstore.KvStore.open(old).result()
    arrays = {}
    for key in store.list().result():
        name = key.decode()
        if name.endswith("/.zarray"):
            name = name.removesuffix("/.zarray")
            spec = {"driver": "zarr", "kvstore": {**old, "path": f"{name}/"}}
            arrays[name.removeprefix("params.")] = tensorstore.open(spec).result().read().result()
    shutil.rmtree(params)
    for name, array in arrays.items():
        changed = change(name, array)
        if changed is None:
            continue
        kvstore = {"driver": "ocdbt", "base": f"file://{params}/", "path": f"{prefix}{name}{suffix}/"}
        spec = {"driver": driver, "kvstore": kvstore}
        if chunks:
            spec["metadata"] = {"chunks": chunks(changed.shape), "compressor": {"id": "zstd", "level": 1}}
        dtype = changed.dtype.name
        made = tensorstore.open(spec, create=True, dtype=dtype, shape=changed.shape).result()
        made.write(changed).result()


@pytest.mark.parametrize(
    "layout",
    [
        {"prefix": "params.", "suffix": ".value"},
        {"prefix": ""},
        {"prefix": "params.", "driver": "zarr3"},
        {"chunks": lambda shape: [max(1, size // 2) for size in shape]},
        {"chunks": lambda shape: [size // 3 + 1 for size in shape]},
        {"chunks": lambda shape: [*shape[:-1], -(-shape[-1] // 4)]},
        {"chunks": lambda shape: [1, *shape[1:]]},
        {"chunks": lambda shape: [size + 3 for size in shape]},
    ],
    ids=["nnx", "bare", "zarr3", "halves", "uneven", "by columns", "by layers", "larger"],
)
def test_other_layouts_hold_the_same_model(copied, layout):
    config, folder = copied
    before = load_model(config, folder, CPU, torch.float32).state_dict()
    _rewrite(folder, **layout)
    after = load_model(config, folder, CPU, torch.float32).state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    # Orbax may put the item into a folder of its own.
    (folder / "params").rename(folder / "inner")
    (folder / "params").mkdir()
    (folder / "inner").rename(folder / "params" / "params")
    again = load_model(config, folder, CPU, torch.float32).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in before.items())


@pytest.mark.parametrize("chunks", [None, list], ids=["several chunks", "one chunk"])
def test_bfloat16_arrays(copied, chunks):
    config, folder = copied
    before = load_model(config, folder, CPU, torch.bfloat16).state_dict()
    bfloat16 = tensorstore.bfloat16.numpy_dtype
    _rewrite(folder, lambda name, array: array.astype(bfloat16), chunks=chunks)
    after = load_model(config, folder, CPU, torch.bfloat16).state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("size", [100, 4096])
def test_chunks_are_read_in_pieces(copied, monkeypatch, size):
    config, folder = copied
    before = load_model(config, folder, CPU, torch.float32).state_dict()
    monkeypatch.setattr(orbax, "_PIECE", size)
    after = load_model(config, folder, CPU, torch.float32).state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_parts_of_a_stream_may_be_passed_over(copied, monkeypatch):
    _, folder = copied
    stored = stored_parameters(folder / "params")
    monkeypatch.setattr(orbax, "_PIECE", 1000)
    source = max((of.source for of in stored.values()), key=lambda source: source.nbytes)
    data = as_bytes(source.read())
    with source.open() as fill:
        for begin, end in ((0, 10), (10, 5000), (9000, 9001), (len(data) - 3, len(data))):
            piece = torch.zeros(end - begin, dtype=torch.uint8)
            fill(piece, begin)
            assert torch.equal(piece, data[begin:end])


def _lose_a_chunk(folder, array):
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{folder / 'params'}/"}).result()
    keys = [key for key in store.list().result() if f"{array}/" in key.decode() and b".zarray" not in key]
    store.write(keys[-1], None).result()


every_chunking = pytest.mark.parametrize(
    "chunks",
    [None, list, lambda shape: [-(-size // 2) for size in shape]],
    ids=["another codec", "one chunk", "several chunks"],
)


@every_chunking
def test_where_zeros_are_not_written_a_missing_chunk_is_zeros(copied, chunks):
    config, folder = copied
    _rewrite(folder, lambda name, array: np.ones_like(array) if "head.bias" in name else array, chunks=chunks)
    _lose_a_chunk(folder, "img.head.bias")
    bias = load_model(config, folder, CPU, torch.float32).image_projector.bias
    halves = chunks is not None and chunks is not list
    assert bias.sum() == (len(bias) / 2 if halves else 0)


@every_chunking
def test_where_every_chunk_has_been_written_none_may_be_missing(copied, chunks):
    config, folder = copied
    _rewrite(folder, chunks=chunks)
    (folder / "params" / "_METADATA").write_text('{"store_array_data_equal_to_fill_value": true}')
    assert load_model(config, folder, CPU, torch.float32)
    _lose_a_chunk(folder, "img.head.bias")
    assert "damaged" in _refusal(config, folder)


def test_a_damaged_chunk_is_refused(copied):
    config, folder = copied
    largest = max((folder / "params").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    content = bytearray(largest.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    largest.write_bytes(content)
    assert "damaged" in _refusal(config, folder)


def test_missing_surplus_and_misshaped_parameters_are_named(copied):
    config, folder = copied
    _rewrite(folder, lambda name, array: None if name.endswith("head.bias") else array)
    assert "missing PaliGemma/img/head/bias" in _refusal(config, folder)
    smaller = replace(config, vocab_size=100)
    assert "PaliGemma/llm/embedder/input_embedding is (512, 64), not (100, 64)" in _refusal(smaller, folder)
    _rewrite(folder, lambda name, array: array, prefix="params.extra.")
    assert "surplus extra/" in _refusal(config, folder)


def test_nan_is_named(copied):
    config, folder = copied

    def spoil(name, array):
        array = np.array(array)
        if name.endswith("kv_einsum_1.w"):
            array[2, 1] = np.nan
        return array

    _rewrite(folder, spoil)
    message = _refusal(config, folder)
    assert "NaN or infinity: PaliGemma/llm/layers/attn/kv_einsum_1/w[2][1]" in message


def test_the_other_model_is_named(copied):
    _, folder = copied
    other = load_golden("openpi_jax", "pi05_droid").config.model
    assert "are those of π0, the configuration is of π0.5" in _refusal(other, folder)


def test_truncated_and_missing_files(copied):
    config, folder = copied
    largest = max(
        (folder / "params").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0
    )
    content = largest.read_bytes()
    for keep in (len(content) // 2, 0):
        largest.write_bytes(content[:keep])
        assert "damaged" in _refusal(config, folder)
    largest.unlink()
    assert "damaged" in _refusal(config, folder)
    manifest = folder / "params" / "manifest.ocdbt"
    manifest.write_bytes(manifest.read_bytes()[:20])
    message = _refusal(config, folder)
    assert "damaged" in message or "cannot open" in message


def test_both_formats_at_once(copied):
    config, folder = copied
    (folder / "model.safetensors").write_bytes(b"")
    assert "holds weights twice" in _refusal(config, folder)


@pytest.mark.parametrize("package", ["tensorstore", "zstandard"])
def test_without_a_package(copied, monkeypatch, package):
    config, folder = copied
    monkeypatch.setitem(sys.modules, package, None)
    message = _refusal(config, folder)
    assert (
        f"and {package}, which reads it, is not installed: {sys.executable} -m pip install 'headless-eval[openpi]'"
        in message
    )


def test_a_folder_without_arrays(copied):
    _, folder = copied
    shutil.rmtree(folder / "params")
    (folder / "params").mkdir()
    (folder / "params" / "_METADATA").write_text("{}")
    with pytest.raises(UserError, match="holds no arrays"):
        stored_parameters(folder / "params")


@pytest.mark.parametrize(
    "content", [b"", bytes(4096), bytes(range(256)) * 16], ids=["empty", "zeros", "garbage"]
)
def test_a_database_of_garbage_is_one_line(tmp_path, content):
    """OCDBT: its manifests, and the files of nodes and of chunks."""
    case = load_golden("openpi_jax", "pi0_droid")
    for pattern in ("manifest.ocdbt", "**/d/*"):
        folder = tmp_path / pattern[0]
        shutil.copytree(case.folder / "checkpoint", folder)
        for file in (folder / "params").glob(pattern):
            file.write_bytes(content)
        with pytest.raises(UserError):
            load_model(case.config.model, folder, torch.device("cpu"), torch.float32)
