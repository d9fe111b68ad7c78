"""Too little memory is said in one line, whatever noticed it."""

import resource

import pytest

from headless_eval.shared import memory
from headless_eval.sims import gl


@pytest.fixture
def limit(monkeypatch):
    """Let the process's memory seem limited to 1 GB."""
    monkeypatch.setattr(memory.resource, "getrlimit", lambda which: (10**9, resource.RLIM_INFINITY))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_what_means_too_little_memory_is_one_line(error, limit):
    said = str(memory.out_of_memory(error))
    assert said == "there is not enough memory; memory is limited to 1.0 GB here (ulimit -v): raise the limit"


def test_without_a_limit_nothing_is_said_of_one():
    assert memory.limited() == ""
    assert "ulimit" not in str(memory.out_of_memory(MemoryError()))


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), ValueError("x"), KeyError("memory")])
def test_other_errors_are_other_errors(error):
    assert memory.out_of_memory(error) is None


def test_rendering_that_lacks_memory_is_not_blamed_on_a_package(limit, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    said = str(gl.failure(RuntimeError("Offscreen framebuffer is not complete, error 0x8cd6")))
    assert said.index("ulimit -v") < said.index("libegl1")
