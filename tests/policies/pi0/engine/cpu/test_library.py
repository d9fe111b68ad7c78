"""The library of C functions in the cache: what is loaded runs, so nothing is loaded that others may have put there."""

import os
import subprocess
import sys

import pytest
import torch
from engine_cases import needs_c

from headless_eval.errors import UserError
from headless_eval.local_policy import load_policy
from headless_eval.policies.pi0.engine.cpu import library as module
from headless_eval.policies.pi0.engine.cpu.library import library
from headless_eval.quant import fake_quantize

pytestmark = needs_c

PLANTED = """
#include <stdlib.h>
__attribute__((constructor)) static void planted(void) { exit(77); }
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache in which the library lies already, and a compiler that is fast."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "_FLAGS", ["-O0", *module._FLAGS[1:]])
    check(library.__wrapped__())
    return tmp_path / "headless-eval"


def check(found):
    """Round with the functions that were loaded."""
    x = torch.randn(3, 5)
    expected = fake_quantize(x, "bfloat16")
    code = 1 + module.interface.DTYPES.index("bfloat16")
    found.headless_eval_round(code, x.data_ptr(), x.stride(0), 3, 5)
    assert torch.equal(x, expected)


def compiles(monkeypatch):
    """Count how often the compiler runs."""
    calls, build = [], module._built

    def counted(*arguments):
        calls.append(arguments)
        return build(*arguments)

    monkeypatch.setattr(module, "_built", counted)
    return calls


def test_a_kept_library_is_loaded_and_not_built_again(cache, monkeypatch):
    calls = compiles(monkeypatch)
    (file,) = cache.iterdir()
    assert (file.stat().st_mode & 0o777, cache.stat().st_mode & 0o777) == (0o700, 0o700)
    check(library.__wrapped__())
    assert calls == []


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"", lambda content: content[:5000], lambda content: content[:-1], lambda content: bytes(10000)],
    ids=["empty", "truncated", "a byte short", "zeros"],
)  # fmt: skip
def test_a_damaged_library_is_built_anew(cache, monkeypatch, caplog, damage):
    calls = compiles(monkeypatch)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    check(library.__wrapped__())
    assert len(calls) == 1
    assert f"{file} is built anew: it is damaged" in caplog.text
    check(library.__wrapped__())
    assert len(calls) == 1


def test_a_flipped_byte_anywhere_is_found(cache, monkeypatch):
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    calls = compiles(monkeypatch)
    check(library.__wrapped__())
    assert len(calls) == 1


def plant(file, tmp_path):
    """Put a library there that ends the process when it is loaded; with the right hash at its end."""
    (tmp_path / "planted.c").write_text(PLANTED)
    built = tmp_path / "planted.so"
    subprocess.run(["cc", "-shared", "-fPIC", str(tmp_path / "planted.c"), "-o", str(built)], check=True)
    content = built.read_bytes()
    file.unlink()
    file.write_bytes(content + module.hashlib.sha256(content).digest())


LOAD = """
from headless_eval.policies.pi0.engine.cpu import library as module
module._FLAGS = ["-O0", *module._FLAGS[1:]]
module.library()
print("loaded")
"""


def load_in_a_process():
    return subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("who", ["file others write", "folder others write", "file a link"])
def test_what_others_can_have_planted_is_not_loaded(cache, tmp_path, who):
    (file,) = cache.iterdir()
    plant(file, tmp_path)
    assert load_in_a_process().returncode == 77  # it would run
    if who == "file others write":
        file.chmod(0o666)
    elif who == "folder others write":
        cache.chmod(0o777)
    else:
        file.rename(tmp_path / "elsewhere.so")
        file.symlink_to(tmp_path / "elsewhere.so")
    done = load_in_a_process()
    assert (done.returncode, done.stdout) == (0, "loaded\n"), done.stderr
    assert "others can write to it" in done.stderr or "it is a link" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_of_a_foreign_uid_is_not_loaded(cache, tmp_path, what):
    (file,) = cache.iterdir()
    plant(file, tmp_path)
    os.chown(file if what == "file" else cache, 12345, 12345)
    done = load_in_a_process()
    assert (done.returncode, done.stdout) == (0, "loaded\n"), done.stderr
    assert "others can write to it" in done.stderr


def test_without_a_cache_the_library_is_built_for_the_process(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(module, "_FLAGS", ["-O0", *module._FLAGS[1:]])
    check(library.__wrapped__())
    assert "it is built for this process" in caplog.text


def test_a_compiler_that_fails_and_one_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "false")
    with pytest.raises(OSError, match="cannot build"):
        library.__wrapped__()
    assert not list((tmp_path / "headless-eval").iterdir())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC")
    with pytest.raises(OSError, match="no C compiler"):
        library.__wrapped__()


def test_a_run_without_a_compiler_says_that_it_is_slower_and_goes_on(tmp_path, monkeypatch, untrained_policy):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("headless_eval.policies.pi0.engine.cpu.engine.library", library.__wrapped__)
    with load_policy(untrained_policy) as policy:
        assert policy.engine == "eager"
    with pytest.raises(UserError, match="'compiled' cannot be used here: no C compiler"):
        load_policy(untrained_policy, engine="compiled")
