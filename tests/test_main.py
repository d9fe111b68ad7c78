"""The process as a whole, from its first import on."""

import signal
import subprocess
import sys

import pytest

# Ctrl-C in the middle of an import, then two more.
INTERRUPTED = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            for _ in range(3):
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                except KeyboardInterrupt:
                    again = True
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from headless_eval.__main__ import main
sys.argv = ["headless-eval", "list"]
sys.exit(main())
"""


@pytest.mark.parametrize("module", ["headless_eval.cli.commands", "headless_eval.cli.catalogue"])
def test_ctrl_c_while_modules_are_imported_is_no_traceback(module):
    command = [sys.executable, "-c", INTERRUPTED.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGINT
    assert "Traceback" not in done.stderr
