"""What starting a simulator sets, and what importing one does not."""

import json
import os
import subprocess
import sys

import pytest

from headless_eval.errors import UserError
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


DRAWS = """
import json, logging, sys, types
from headless_eval.contracts.seeding import TrialSeed
from headless_eval.sims import egl_beside_cuda, gl
from headless_eval.sims.registry import find_suite

def told(well):
    # Stands for torch with a CUDA context, and for a driver that fails or does not.
    cuda = types.SimpleNamespace(is_initialized=lambda: True)
    sys.modules["torch"] = types.SimpleNamespace(cuda=cuda)
    code = {True: "print('drew 9 pictures')", False: "import os; os.abort()", None: "raise SystemExit(3)"}[well]
    try_it = egl_beside_cuda.try_it
    egl_beside_cuda.try_it = lambda: try_it(command=[sys.executable, "-c", code])

def draw(render=None):
    suite = find_suite("droid")
    simulator = suite.make(suite.settings(render=render), num_slots=1, image_size=32)
    task = suite.load_tasks()[0]
    simulator.reset(0, task, TrialSeed(7, task.id, 0))
    simulator.observe([0])
    said = simulator.describe()
    print(json.dumps({name: said.get(name) for name in ("gl_renderer", "render", "render_why")}))
"""
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="EGL is Linux's")


def drawn(code: str, **environment: str) -> dict:
    done = run(DRAWS + code, **environment)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "stderr": done.stderr}


@on_linux
def test_a_driver_that_aborts_beside_cuda_is_not_drawn_with():
    said = drawn("told(well=False)\ndraw()")
    assert said["render"] == "software"
    assert said["render_why"] == "EGL beside CUDA aborts (SIGABRT)"
    assert "llvmpipe" in said["gl_renderer"]
    assert "EGL beside CUDA aborts (SIGABRT): pictures are drawn in software" in said["stderr"]


@on_linux
@pytest.mark.parametrize(
    "code", ["told(well=True)\ndraw()", "told(well=None)\ndraw()", "told(well=False)\ndraw('gpu')", "draw()"]
)
def test_otherwise_egl_s_own_choice_draws(code):
    said = drawn(code)
    assert said["render"] is None
    assert "software" not in said["stderr"]


@on_linux
def test_software_can_be_asked_for():
    said = drawn("draw('software')", MUJOCO_GL="egl", MUJOCO_EGL_DEVICE_ID="0")
    assert said["render"] == "software"
    assert "llvmpipe" in said["gl_renderer"]


@on_linux
def test_software_that_is_asked_for_too_late_is_refused():
    done = run("import mujoco\n" + DRAWS + "draw('software')", MUJOCO_GL="egl")
    assert "--render software comes too late" in done.stderr


@on_linux
def test_where_nothing_draws_in_software_what_to_install_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(gl, "_VENDORS", (tmp_path,))
    monkeypatch.setattr(gl.ctypes.util, "find_library", lambda name: None)
    (tmp_path / "10_nvidia.json").write_text('{"ICD": {"library_path": "libEGL_nvidia.so.0"}}')
    (tmp_path / "99_broken.json").write_text("[]")
    with pytest.raises(UserError, match=r"aborts, and nothing here draws in software: .*libegl-mesa0"):
        gl._draw_in_software("EGL beside CUDA aborts")


@on_linux
def test_osmesa_draws_where_egl_has_no_mesa(monkeypatch, tmp_path):
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM"):
        monkeypatch.setenv(name, "egl")
    monkeypatch.setattr(gl, "_told", {})
    monkeypatch.setattr(gl, "_VENDORS", (tmp_path,))
    monkeypatch.setattr(gl.ctypes.util, "find_library", lambda name: f"lib{name}.so")
    gl._draw_in_software("why")
    assert os.environ["MUJOCO_GL"] == os.environ["PYOPENGL_PLATFORM"] == "osmesa"
    assert gl.described() == {"render": "software", "render_why": "why"}
