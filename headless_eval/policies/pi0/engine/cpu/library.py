"""The C code as a library: built once by the machine's own compiler, and kept in the user's cache.

What is loaded runs. So a library is only taken from a folder that nobody but this user can write to, only as a file of
this user's, and only if it has the hash that is kept at its end; else it is built anew.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from headless_eval.policies.pi0.engine.cpu import interface
from headless_eval.shared.files import Folder

_log = logging.getLogger(__name__)

_SOURCE = Path(__file__).with_name("cpu.c")
_FLAGS = [
    "-O3",
    "-std=gnu11",
    "-fPIC",
    "-shared",
    "-fopenmp-simd",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
]
_TUNED: tuple[list[str], ...] = (
    ["-march=native"],
    ["-mcpu=native"],
    [],
)  # compilers differ in which they know
_HASH = 32
"""Bytes at the end of a kept library: the SHA-256 of the others, which loaders of libraries do not read."""


@lru_cache(maxsize=1)
def library() -> Any:
    """Return the C functions, built the first time that this source meets this compiler and processor.

    Raises:
        OSError: there is no C compiler, or it cannot build it.
    """
    compiler = _compiler()
    name = f"cpu-{_key(compiler)}.so"
    folder = _cache()
    library = None if folder is None else _kept(folder, name)
    if library is None:
        library = _built(compiler, folder, name)
    for function in (library.headless_eval_infer, library.headless_eval_round):
        function.restype = None
    library.headless_eval_infer.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3]
    library.headless_eval_round.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_int64,
        *[ctypes.c_int] * 2,
    ]
    return library


def _compiler() -> str:
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        if name and (found := shutil.which(name)):
            return found
    raise OSError("no C compiler (cc, gcc or clang)")


def _key(compiler: str) -> str:
    """Return a hash of all that a library depends on."""
    digest = hashlib.sha256(_SOURCE.read_bytes() + interface.header().encode())
    for what in (compiler, " ".join(_FLAGS), platform.machine(), _processor()):
        digest.update(f"{what}\n".encode())
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False)
    digest.update(version.stdout)
    return digest.hexdigest()[:24]


def _processor() -> str:
    """Return what instructions there are: a home may be shared by different machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _cache() -> Folder | None:
    """Return the folder of libraries below ``$XDG_CACHE_HOME``; None if others can write to it or it cannot be made."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headless-eval"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with Folder(path.parent) as cache:
            folder = cache.folder(path.name)
    except OSError as error:
        _log.warning("no library can be kept in %s: %s; it is built for this process", path, error.strerror)
        return None
    if not _is_ours(folder.status()):
        _log.warning(
            "no library is taken from %s, because others can write to it; it is built for this process. Let the folder "
            "be yours alone: chmod go-w, chown",
            path,
        )
        return None
    return folder


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _kept(folder: Folder, name: str) -> ctypes.CDLL | None:
    """Return the library that is kept; None if the folder has no such file, or one that cannot be trusted."""
    try:
        file = folder.reader(name)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("%s is built anew: %s", folder.path / name, error.strerror)
        return None
    with file:
        content = file.read()
        if not _is_ours(os.fstat(file.fileno())):
            reason = "others can write to it"
        elif len(content) < _HASH or hashlib.sha256(content[:-_HASH]).digest() != content[-_HASH:]:
            reason = "it is damaged"
        else:  # by the descriptor: what was checked is what is loaded
            return ctypes.CDLL(f"/proc/self/fd/{file.fileno()}")
    _log.warning("%s is built anew: %s", folder.path / name, reason)
    return None


def _built(compiler: str, folder: Folder | None, name: str) -> ctypes.CDLL:
    """Build the library, keep it in the folder if there is one, and load it."""
    with tempfile.TemporaryDirectory(prefix="headless-eval-") as place:
        built = Path(place) / name
        Path(place, "interface.h").write_text(interface.header(), encoding="utf-8")
        for tuned in _TUNED:
            command = [compiler, *_FLAGS, *tuned, "-I", place, str(_SOURCE), "-o", str(built), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
        else:
            raise OSError(f"{compiler} cannot build it ({done.stderr.strip().splitlines()[-1:]})")
        if folder is not None:
            content = built.read_bytes()
            try:
                with folder.replacing(name, "wb") as file:
                    os.fchmod(file.fileno(), 0o700)
                    file.write(content + hashlib.sha256(content).digest())
            except OSError as error:
                _log.warning("%s is not kept: %s", folder.path / name, error.strerror)
        return ctypes.CDLL(str(built))
