"""Python and namespaces in processes of their own, for tests of whole runs."""

import shutil
import subprocess
import sys


def unshare(*flags):
    """Whether this process may make such namespaces."""
    program = shutil.which("unshare")
    return (
        program is not None and subprocess.run([program, *flags, "true"], capture_output=True).returncode == 0
    )


def python(script, *arguments, prefix=()):
    command = [*prefix, sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)
