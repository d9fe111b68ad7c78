"""safetensors files of any content: read to the last byte, or refused in one line."""

import json
from pathlib import Path
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from properties import anything, damaged, few, outcome
from safetensors.torch import save

from headless_eval.checkpoints.safetensors_file import SafetensorsFile
from headless_eval.errors import UserError

WHOLE = save({"a": torch.arange(6.0).reshape(2, 3), "b.c": torch.ones(4, dtype=torch.int8)}, {"format": "pt"})


def read(path: Path) -> dict[str, torch.Tensor] | UserError:
    """Return every tensor of a file, or the refusal, which has to be one line."""

    def tensors() -> dict[str, torch.Tensor]:
        file = SafetensorsFile(path)
        found = {name: file.source(name).read() for name in file.shapes}
        assert {name: tuple(tensor.shape) for name, tensor in found.items()} == file.shapes
        return found

    return outcome(tensors)


@few
@given(data=damaged(WHOLE))
def test_a_damaged_file_is_read_or_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    read(path)


sizes = st.integers(-1, 5) | st.sampled_from([2**31, 2**62, 2**64])
kinds = st.sampled_from(["F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "", "F32 "])
entries = st.fixed_dictionaries(
    {
        "dtype": kinds | anything,
        "shape": st.lists(sizes, max_size=3) | anything,
        "data_offsets": st.lists(sizes, min_size=1, max_size=3) | anything,
    }
)


@few
@given(
    header=st.dictionaries(st.text(max_size=5) | st.just("__metadata__"), entries | anything, max_size=3),
    length=st.none() | sizes.filter(lambda size: 0 <= size < 2**64),
    data=st.binary(max_size=40),
)
def test_any_header_is_read_or_refused(
    header: dict[str, Any], length: int | None, data: bytes, tmp_path: Path
) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    read(path)


@few
@given(shape=st.lists(st.integers(0, 3), max_size=3), name=st.text(max_size=8))
def test_what_is_saved_is_read(shape: list[int], name: str, tmp_path: Path) -> None:
    path, tensor = tmp_path / "model.safetensors", torch.randn(shape)
    path.write_bytes(save({"a": tensor, f"b{name}".encode(errors="replace").decode(): tensor + 1}))
    found = read(path)
    assert isinstance(found, dict)
    assert torch.equal(found["a"], tensor)
    assert len(found) == 2
