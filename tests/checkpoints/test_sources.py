"""Parameters from arrays on disk: onto a CPU, and by several threads onto a GPU."""

import itertools
import sys
import threading
from contextlib import contextmanager

import pytest
import torch

from headless_eval.checkpoints import sources
from headless_eval.checkpoints.sources import StoredArray, Tile, as_bytes, upload
from headless_eval.checkpoints.stored import Stored, parameters
from headless_eval.errors import UserError

CPU = torch.device("cpu")
on_both = pytest.mark.parametrize("device", [CPU, pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)])


class InMemory(StoredArray):
    """An array of several parameters, which counts how often it is opened and in which order it is read."""

    def __init__(self, array: torch.Tensor):
        super().__init__(tuple(array.shape), array.dtype)
        self.array, self.opened = array, 0

    @contextmanager
    def open(self):
        self.opened += 1
        data, last = as_bytes(self.array), 0

        def fill(piece, begin):
            nonlocal last
            assert begin >= last
            last = begin + len(piece)
            piece.copy_(data[begin:last])

        yield fill


class Broken(InMemory):
    @contextmanager
    def open(self):
        raise UserError("it is truncated")
        yield


def stored_layers(source, transform=torch.t):
    layers, two, rows, columns = source.shape
    return {
        f"{layer}.{which}": Stored(f"w[{layer}][{which}]", (columns, rows), source, (layer, which), transform)
        for layer in range(layers)
        for which in range(two)
    }


@on_both
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_part_of_an_array_arrives_and_the_array_is_read_once(device, dtype):
    generator = torch.Generator().manual_seed(0)
    # More than the pieces of all threads; sizes that no piece divides.
    sources = [
        InMemory(torch.randn(layers, 2, 3, size, generator=generator).to(kind))
        for kind in (torch.float32, torch.bfloat16)
        for layers, size in ((3, 1_500_001), (1, 5), (17, 70_001), (2, 9_999_999))
    ]
    stored = {f"{at}.{name}": of for at, one in enumerate(sources) for name, of in stored_layers(one).items()}
    found = dict(parameters(stored, device, dtype))
    assert set(found) == set(stored)
    for name, value in found.items():
        of = stored[name]
        assert torch.equal(value.cpu(), of.source.array[of.index].t().to(dtype))
        assert value.untyped_storage().nbytes() == value.nbytes
        assert value.device.type == device.type
    assert all(source.opened == 1 for source in sources)


@on_both
def test_one_array_that_cannot_be_read_ends_it(device):
    sources = [InMemory(torch.randn(2, 2, 3, 5)) for _ in range(20)]
    sources.insert(7, Broken(torch.zeros(2, 2, 3, 5)))
    stored = {f"{at}.{name}": of for at, one in enumerate(sources) for name, of in stored_layers(one).items()}
    with pytest.raises(UserError, match="it is truncated"):
        dict(parameters(stored, device, torch.float32))


def test_where_a_part_of_an_array_begins():
    array = torch.arange(2 * 3 * 4 * 5, dtype=torch.float64).reshape(2, 3, 4, 5)
    source = InMemory(array)
    for index in [(), (1,), (1, 2), (0, 1, 3)]:
        assert source.place(index) == 8 * int(array[index].reshape(-1)[0])


class FakeStream:
    """Stands in for a GPU's, where there is none: everything is there at once."""

    def wait_event(self, event):
        pass


class FakeLane:
    """Stands in for pinned memory and a GPU; threads and their order are real."""

    def __init__(self, stream):
        pass

    def bring(self, source, index, fill):
        part = torch.empty(source.shape[len(index) :], dtype=source.dtype)
        fill(as_bytes(part), source.place(index))
        return part, None


@pytest.fixture
def fake_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: FakeStream())
    monkeypatch.setattr(sources, "_Lane", FakeLane)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads meet in the narrowest places
    yield
    sys.setswitchinterval(before)


def test_several_threads_bring_every_part_once(fake_gpu):
    for _ in range(50):
        made = [InMemory(torch.full((2, 2), float(at))) for at in range(20)]
        found = {
            (source, index): part for source, index, part in upload(dict.fromkeys(made, ((0,), (1,))), CPU)
        }
        assert len(found) == 40
        assert all(torch.equal(part, source.array[index]) for (source, index), part in found.items())
        assert all(source.opened == 1 for source in made)


def test_an_error_of_one_thread_ends_all(fake_gpu):
    made = [InMemory(torch.zeros(2, 2)) for _ in range(50)]
    made.insert(3, Broken(torch.zeros(2, 2)))
    with pytest.raises(UserError, match="it is truncated"):
        list(upload(dict.fromkeys(made, ((0,), (1,))), CPU))
    assert sum(thread.name.startswith("upload") for thread in threading.enumerate()) == 0


class InTiles(InMemory):
    """Cut along every axis, with tiles that reach beyond the end."""

    def __init__(self, array, tile):
        super().__init__(array)
        self.made = []
        for begin in itertools.product(
            *(range(0, size, of) for size, of in zip(array.shape, tile, strict=True))
        ):
            content = array[tuple(slice(at, at + of) for at, of in zip(begin, tile, strict=True))]
            padded = torch.full(tile, float("nan"), dtype=array.dtype)
            padded[tuple(map(slice, content.shape))] = content
            self.made.append(Tile(InMemory(padded), begin))

    def tiles(self):
        return self.made


@pytest.mark.parametrize("tile", [(3, 2, 4, 5), (1, 1, 4, 5), (2, 1, 3, 2), (1, 2, 4, 2), (9, 9, 9, 9)])
def test_an_array_in_tiles_is_put_together(tile):
    array = torch.randn(3, 2, 4, 5)
    source = InTiles(array, tile)
    found = dict(parameters(stored_layers(source), CPU, torch.float32))
    assert len(found) == 6
    for layer in range(3):
        for which in range(2):
            assert torch.equal(found[f"{layer}.{which}"], array[layer, which].t())
    assert torch.equal(source.read(), array)
