"""Python and namespaces in processes of their own, for tests of whole runs."""

import shutil
import subprocess
import sys

# Policies that hold still and send their process a signal: of four episodes of 16 steps, which ask twice each, in
# neither the first nor the last, as the rehearsal asks before them.
SIGNALS = """
import os, signal
import numpy as np

class Interrupts:
    stateless = True
    number = signal.SIGINT

    def __init__(self):
        self.asked = 0

    def infer(self, obs):
        self.asked += 1
        if self.asked == 7:
            os.kill(os.getpid(), self.number)
        return {"actions": np.zeros((8, 8), np.float32)}

class Terminates(Interrupts):
    number = signal.SIGTERM
"""


def unshare(*flags):
    """Whether this process may make such namespaces."""
    program = shutil.which("unshare")
    return (
        program is not None and subprocess.run([program, *flags, "true"], capture_output=True).returncode == 0
    )


def python(script, *arguments, prefix=()):
    command = [*prefix, sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)
