"""What starting a simulator sets, and what importing one does not."""

import os
import subprocess
import sys

import pytest

from headless_eval.sims import gl


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MUJOCO_GL", "EGL_PLATFORM", "PYOPENGL_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY")
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_importing_simulators_and_training_changes_no_environment_variable():
    code = (
        "import os; before = dict(os.environ)\n"
        "import headless_eval.sims, headless_eval.sims.registry, headless_eval.training\n"
        "from headless_eval.sims.droid import backends\n"
        "import headless_eval.sims.libero.backends\n"
        "assert dict(os.environ) == before, set(os.environ) ^ set(before)\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="EGL is Linux's")
def test_starting_a_simulator_chooses_how_to_draw():
    code = (
        "import os\n"
        "from headless_eval.sims.registry import find_suite\n"
        "find_suite('droid').make(None, num_slots=1).close()\n"
        "print(os.environ['MUJOCO_GL'])\n"
    )
    done = run(code)
    assert done.stdout == "egl\n", done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="EGL is Linux's")
def test_mujoco_that_was_imported_before_is_told_apart():
    code = (
        "import mujoco\n"
        "from headless_eval.errors import UserError\n"
        "from headless_eval.sims.registry import find_suite\n"
        "try:\n"
        "    find_suite('droid').make(None, num_slots=1).close()\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    assert "set MUJOCO_GL=egl" in run(code).stdout
    assert run(code, MUJOCO_GL="egl").stdout == ""


def test_what_the_user_chose_stays(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    gl.choose_backend()
    assert os.environ["MUJOCO_GL"] == "osmesa"
