"""CUDA C++ compiled as the program runs, by the compiler that comes with torch, and launched on torch's streams."""

import ctypes
import glob
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headless_eval.errors import UserError

_SHARED_MEMORY = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_EARLY = 6  # CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION


class _Attribute(ctypes.Structure):
    _fields_ = (("id", ctypes.c_int), ("pad", ctypes.c_int), ("value", ctypes.c_int * 16))


class _Config(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("count", ctypes.c_uint),
    )


@cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


@cache
def _compiler() -> ctypes.CDLL:
    major = str(torch.version.cuda).partition(".")[0]
    beside = Path(torch.__file__).parent.parent / "nvidia"
    names = [f"libnvrtc.so.{major}", *sorted(glob.glob(f"{beside}/*/lib/libnvrtc.so.{major}"))]
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise UserError(
        f"CUDA's run-time compiler (libnvrtc.so.{major}) was not found: install nvidia-cuda-nvrtc, or use "
        "--engine compiled"
    )


def _done(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"CUDA: {what} failed with status {status}")


def compile_source(source: str, macros: Mapping[str, int], capability: tuple[int, int]) -> bytes:
    """Return the machine code (cubin) of CUDA C++ for a compute capability.

    Raises:
        UserError: there is no compiler.
        RuntimeError: the compilation fails; the message is the compiler's.
    """
    lib, program = _compiler(), ctypes.c_void_p()
    target = f"sm_{capability[0]}{capability[1]}"
    options = [f"--gpu-architecture={target}", "--std=c++17", "-default-device", "--disable-warnings"]
    options += [f"-D{name}={value}" for name, value in macros.items()]
    encoded = [option.encode() for option in options]
    _done(
        lib.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"source.cu", 0, None, None), "nvrtc"
    )
    try:
        status = lib.nvrtcCompileProgram(program, len(encoded), (ctypes.c_char_p * len(encoded))(*encoded))
        size = ctypes.c_size_t()
        if status:
            lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            lib.nvrtcGetProgramLog(program, log)
            raise RuntimeError(f"CUDA: compiling for {target} failed: {log.value.decode()}")
        _done(lib.nvrtcGetCUBINSize(program, ctypes.byref(size)), "nvrtc")
        code = ctypes.create_string_buffer(size.value)
        _done(lib.nvrtcGetCUBIN(program, code), "nvrtc")
        return code.raw
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))


class Module:
    """Machine code on the current device."""

    def __init__(self, code: bytes):
        torch.cuda.current_stream()  # the context is there
        self._module = ctypes.c_void_p()
        _done(_driver().cuModuleLoadData(ctypes.byref(self._module), code), "loading a module")

    def integers(self, name: str, count: int) -> list[int]:
        """Return an array of integers that the source holds."""
        at, size = ctypes.c_uint64(), ctypes.c_size_t()
        values = (ctypes.c_int * count)()
        driver = _driver()
        status = driver.cuModuleGetGlobal_v2(
            ctypes.byref(at), ctypes.byref(size), self._module, name.encode()
        )
        _done(status, f"finding {name}")
        _done(driver.cuMemcpyDtoH_v2(values, at, ctypes.sizeof(values)), f"reading {name}")
        return list(values)

    def kernel(self, name: str, shared: int = 0) -> "Kernel":
        """Return one of its kernels, with that many bytes of shared memory taken at launch."""
        function = ctypes.c_void_p()
        driver = _driver()
        _done(driver.cuModuleGetFunction(ctypes.byref(function), self._module, name.encode()), name)
        if shared:
            _done(driver.cuFuncSetAttribute(function, _SHARED_MEMORY, shared), f"shared memory of {name}")
        return Kernel(self, name, function, shared)


class Kernel:
    """A kernel that starts, its prologue at least, before the one ahead of it in the stream has ended."""

    def __init__(self, module: Module, name: str, function: ctypes.c_void_p, shared: int):
        self._module, self._name, self._function, self._shared = module, name, function, shared

    def __call__(self, grid: tuple[int, ...], threads: int, *arguments: Any) -> None:
        """Launch on torch's current stream; tensors are passed by address, None as a null pointer."""
        values: list[Any] = []
        for argument in arguments:
            if argument is None or isinstance(argument, Tensor):
                values.append(ctypes.c_void_p(None if argument is None else argument.data_ptr()))
            elif isinstance(argument, float):
                values.append(ctypes.c_float(argument))
            else:
                values.append(ctypes.c_int(argument))
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        attribute = _Attribute(_EARLY, 0, (ctypes.c_int * 16)(1))
        config = _Config(
            (ctypes.c_uint * 3)(*grid, *(1,) * (3 - len(grid))),
            (ctypes.c_uint * 3)(threads, 1, 1),
            self._shared,
            torch.cuda.current_stream().cuda_stream,
            ctypes.pointer(attribute),
            1,
        )
        status = _driver().cuLaunchKernelEx(ctypes.byref(config), self._function, pointers, None)
        _done(status, f"launching {self._name}")
