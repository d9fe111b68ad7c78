"""Silencing of standard error."""

import os
import subprocess
import sys

import pytest

from headless_eval.shared.stderr import no_stderr

SCRIPT = """
import os, sys
from headless_eval.shared.stderr import no_stderr
sys.stderr.write("before, ")
with no_stderr():
    print("from Python", file=sys.stderr, flush=True)
    os.write(2, b"from C")
print("afterwards", file=sys.stderr)
"""


def test_only_what_is_written_in_the_block_is_silenced():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stderr == "before, afterwards\n"


def test_standard_error_comes_back_after_an_exception(capfd):
    files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ValueError), no_stderr():
        raise ValueError
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"
    assert len(os.listdir("/proc/self/fd")) == files
