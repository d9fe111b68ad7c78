"""Isaac Lab is asked for: what is said where it cannot run, and the robot's file. Needs no Isaac Lab."""

import subprocess
import sys
from importlib.machinery import ModuleSpec

import pytest

from headless_eval.errors import UserError
from headless_eval.shared import process
from headless_eval.sims import isaaclab_app
from headless_eval.sims.droid.isaaclab import robot_usd
from headless_eval.sims.droid.suites import DroidSettings
from headless_eval.sims.registry import find_suite


@pytest.fixture
def installed(monkeypatch):
    """Isaac Lab seems installed for this Python; returns what else seems so."""
    there = {"isaaclab"}
    monkeypatch.setattr(isaaclab_app, "_PYTHON", sys.version_info[:2])
    monkeypatch.setattr(
        isaaclab_app.importlib.util,
        "find_spec",
        lambda name: ModuleSpec(name, None) if name in there else None,
    )
    return there


def test_newton_on_a_cpu_needs_nothing_more(installed):
    isaaclab_app.check("newton", "newton", "cpu")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("bullet", "newton", "cpu"), "--physics is 'bullet'; it must be newton or physx"),
        (("newton", "raster", "cpu"), "--renderer is 'raster'"),
        (("newton", "newton", "tpu"), "--sim-device is 'tpu'"),
        (("physx", "newton", "cpu"), "--physics physx needs NVIDIA's ovphysx and ovstage"),
        (("physx", "rtx", "cpu"), "--renderer rtx needs Isaac Sim"),
        (("newton", "rtx", "cpu"), "--renderer rtx needs Isaac Sim"),
        (("newton", "newton", "cuda"), "no CUDA device"),
    ],
)
def test_what_cannot_run_is_one_line(installed, settings, said, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=said) as caught:
        isaaclab_app.check(*settings)
    assert "\n" not in str(caught.value)


def test_physx_needs_no_isaac_sim(installed):
    installed.update(("ovphysx", "ovstage"))
    isaaclab_app.check("physx", "newton", "cpu")


def test_of_physx_the_missing_package_alone_is_named(installed):
    installed.add("ovphysx")
    with pytest.raises(UserError, match=r"needs NVIDIA's ovstage, .*\[isaaclab-physx\].*PHYSICS=physx"):
        isaaclab_app.check("physx", "newton", "cpu")


def test_rtx_wants_a_gpu(installed):
    installed.add("isaacsim")
    with pytest.raises(UserError, match="--sim-device cuda"):
        isaaclab_app.check("newton", "rtx", "cpu")


def test_another_python_and_a_missing_package_name_the_way_out(monkeypatch):
    monkeypatch.setattr(isaaclab_app, "_PYTHON", (3, 99))
    with pytest.raises(UserError, match=r"SIM=isaaclab scripts/run_headless.sh") as caught:
        isaaclab_app.check("newton", "newton", "cpu")
    assert f"this is {sys.version_info[0]}.{sys.version_info[1]}" in str(caught.value)
    assert "extra isaaclab" in str(caught.value)


@pytest.mark.parametrize("name", ["physics", "renderer", "sim_device", "isaac_assets"])
def test_mujoco_refuses_settings_of_isaac_lab(name):
    with pytest.raises(UserError, match="--sim isaaclab"):
        find_suite("droid").check(DroidSettings(**{name: "newton"}))


def test_without_isaac_sim_the_process_ends_as_always():
    assert process.end(3) == 3


def test_isaac_sim_does_not_change_the_exit_status():
    """In a process of its own, for it ends the process."""
    code = (
        "from headless_eval.sims import isaaclab_app as app\n"
        "from headless_eval.shared import process\n"
        "import atexit, os, sys\n"
        "atexit.register(os._exit, 0)  # what Kit's shutdown comes to\n"
        "process.at_end(app.end_process)\n"
        "print('said before')\n"
        "process.end(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 7
    assert done.stdout == "said before\n"


def test_compilation_is_announced_once_and_counted(capsys):
    progress = isaaclab_app._KernelProgress()
    progress.info("Module a load on device 'cpu' took 1 ms (cached)")
    assert capsys.readouterr().err == ""
    for index in range(20):
        progress.info(f"Module {index} load on device 'cpu' took 900 ms (compiled)")
    said = capsys.readouterr().err
    assert said.count("Compiling") == 1
    assert "20 modules" in said


def test_the_robots_usd_is_made_of_its_mjcf():
    """After a change of the MJCF: see the first lines of robot_usd.py."""
    text = robot_usd.USD.read_text(encoding="utf-8")
    assert f'string mjcf_sha256 = "{robot_usd.mjcf_sha256()}"' in text


def test_usd_colours_are_linear():
    assert robot_usd.linear((0.0, 0.04045, 1.0)) == pytest.approx((0.0, 0.0031308, 1.0), abs=1e-6)
    assert robot_usd.linear((0.5,))[0] == pytest.approx(0.21404, abs=1e-5)


def test_an_exception_that_nobody_takes_ends_with_its_traceback_and_1_beside_isaac_sim():
    code = (
        "from headless_eval.sims import isaaclab_app as app\n"
        "import atexit, os, sys\n"
        "atexit.register(os._exit, 0)  # what Kit's shutdown comes to\n"
        "sys.excepthook = app._die\n"
        "raise LookupError('in the simulator')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "LookupError: in the simulator" in done.stderr


def test_isaac_sim_sees_no_arguments_and_ends_nothing_while_it_starts(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["headless-eval", "run", "--physics", "physx"])
    seen = []

    def start():
        with isaaclab_app._own_arguments(), isaaclab_app._tracebacks():
            seen.extend(sys.argv)
            sys.exit(3)

    with pytest.raises(RuntimeError, match="exit status 3"):
        start()
    assert seen == ["headless-eval"]
    assert sys.argv[1:] == ["run", "--physics", "physx"]
