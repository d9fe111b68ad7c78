"""Starting and stopping Isaac Lab: what must be there, its app where it needs one, and how the process ends.

Isaac Lab runs in any process with Newton, and with PhysX as the package ovphysx brings it. To draw with RTX it needs
Isaac Sim, whose app (Kit) reads the process's arguments, and ends the process when it closes, whatever the exit status
would have been; both are dealt with here.
"""

import contextlib
import importlib.util
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

from headless_eval.errors import UserError
from headless_eval.shared import process
from headless_eval.shared.stderr import no_stderr

PHYSICS, RENDERERS, DEVICES = ("newton", "physx"), ("newton", "rtx"), ("cpu", "cuda")
_PYTHON = (3, 12)
_OVPHYSX = ("ovphysx", "ovstage")  # PhysX as a library, and the USD stage that it reads


def check(physics: str, renderer: str, device: str) -> None:
    """Make sure that Isaac Lab can run here with this physics, renderer and device.

    Raises:
        UserError: something is missing, unknown, or does not go together.
    """
    for flag, value, known in (
        ("--physics", physics, PHYSICS),
        ("--renderer", renderer, RENDERERS),
        ("--sim-device", device, DEVICES),
    ):
        if value not in known:
            raise UserError(f"{flag} is {value!r}; it must be {' or '.join(known)}")
    here = sys.version_info[:2]
    if importlib.util.find_spec("isaaclab") is None or here != _PYTHON:
        raise UserError(
            f"--sim isaaclab needs Python 3.12 (this is {here[0]}.{here[1]}) and the extra isaaclab "
            "(pip install 'headless-eval[isaaclab]'); SIM=isaaclab scripts/run_headless.sh sets both up"
        )
    if needs_kit(renderer):
        if not _is_installed("isaacsim"):
            raise UserError(
                "--renderer rtx needs Isaac Sim, which is not installed here; Newton's renderer draws without it: "
                "--renderer newton"
            )
    elif physics == "physx":
        missing = [name for name in _OVPHYSX if not _is_installed(name)]
        if missing:
            raise UserError(
                f"--physics physx needs NVIDIA's {' and '.join(missing)}, not installed here: "
                "pip install 'headless-eval[isaaclab-physx]', or PHYSICS=physx SIM=isaaclab "
                "scripts/run_headless.sh; --physics newton needs neither"
            )
    if renderer == "rtx" and device == "cpu":
        raise UserError("--renderer rtx draws on a GPU: use --sim-device cuda")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UserError("--sim-device cuda: torch finds no CUDA device here; Newton runs on the CPU, too")


def needs_kit(renderer: str) -> bool:
    """Return whether Isaac Sim's app must run: RTX draws in it. PhysX is then Isaac Sim's, otherwise ovphysx's."""
    return renderer == "rtx"


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


class IsaacApp:
    """Isaac Lab's runtime for one configuration; there is one in a process.

    Args:
        config: the environment; Isaac Lab finds in it what physics and renderers need.
        device: torch's name of the simulation's device.
    """

    def __init__(self, config: Any, device: str):
        _prepare_warp(device)
        _quieten()
        from isaaclab.app import launch_simulation

        arguments = {"device": device, "headless": True, "enable_cameras": True}
        self._launch = launch_simulation(config, arguments)
        with _own_arguments(), _tracebacks():
            self._launch.__enter__()
        self.has_kit = "omni.kit.app" in sys.modules
        if _is_ovphysx(config):
            _log_errors_only()
        if self.has_kit:
            sys.excepthook = _die

    def close(self) -> None:
        """End the runtime; Kit, which would end the process, is left until the program's end."""
        from isaaclab.sim import SimulationContext

        SimulationContext.clear_instance()
        if self.has_kit:
            process.at_end(self._end_process)
        else:
            self._launch.__exit__(None, None, None)

    def _end_process(self, status: int) -> None:
        # A method, so that the app lives until then: Kit closes with the last reference to it.
        end_process(status)


def end_process(status: int) -> None:
    """End the process with this exit status while Kit runs in it: Kit's own shutdown would end it with 0."""
    sys.stdout.flush()
    sys.stderr.flush()
    # Kit's shutdown neither returns nor always succeeds; everything of the run is on disk by now.
    os._exit(status)


def _die(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Print an uncaught exception and end the process with status 1, which Kit would change to 0."""
    traceback.print_exception(kind, error, trace)
    sys.stdout.flush()
    os._exit(1)


@contextlib.contextmanager
def _own_arguments() -> Iterator[None]:
    """Hide the command line, which Kit would take for its own."""
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = arguments


@contextlib.contextmanager
def _tracebacks() -> Iterator[None]:
    """Turn what stops the launch into an exception: Kit calls ``sys.exit``."""
    try:
        yield
    except SystemExit as end:
        raise RuntimeError(f"Isaac Sim ended while it started (exit status {end.code})") from end


class _KernelProgress:
    """Receives Warp's messages: shows the progress of compiling kernels, and passes on warnings and errors."""

    def __init__(self) -> None:
        self._compiled = 0

    def info(self, message: str) -> None:
        if "(compiled)" not in message:
            return
        if not self._compiled:
            print(
                "Compiling Isaac Lab's kernels for this machine (once, one to three minutes) ...",
                file=sys.stderr,
            )
        self._compiled += 1
        if self._compiled % 10 == 0:
            print(f"  {self._compiled} modules compiled", file=sys.stderr, flush=True)

    def debug(self, message: str) -> None:
        pass

    def warning(self, message: str, category: Any = None, stacklevel: int = 1) -> None:
        warnings.warn(message, category, stacklevel + 1)

    def error(self, message: str) -> None:
        print(message, file=sys.stderr)


def _prepare_warp(device: str) -> None:
    """Start Warp, with its messages in our hands, and on a GPU as repeatable as it gets."""
    with no_stderr():  # Warp says there that it finds no CUDA driver, as on any machine without a GPU
        import warp

        warp.config.log_level = warp.LOG_WARNING
        if device != "cpu":  # must be said before any of its modules is made
            warp.config.deterministic = warp.DeterministicMode.RUN_TO_RUN
        warp.init()
        if not warp.is_cuda_available():
            # Isaac Lab asks for page-locked memory, which Warp gets from CUDA alone; only copies to a GPU need it.
            cpu = warp.get_device("cpu")
            cpu.pinned_allocator = cpu.default_allocator
        import isaaclab.utils.warp  # noqa: F401  silences Warp, which is undone here

        warp.set_logger(_KernelProgress())
        warp.config.quiet = False
        warp.config.log_level = warp.LOG_INFO  # says of each module whether it was compiled


def _is_ovphysx(config: Any) -> bool:
    from isaaclab_ov.physics import OvPhysxCfg

    return isinstance(config.sim.physics, OvPhysxCfg)


def _log_errors_only() -> None:
    """Take ovphysx's errors to Python's logging; on the terminal it warns of every start without a GPU."""
    import ovphysx

    ovphysx.enable_default_log_output(False)
    ovphysx.enable_python_logging(min_severity=ovphysx.LogLevel.ERROR)


_LIBRARIES = (
    *("isaaclab", "isaaclab_newton", "isaaclab_ov", "isaaclab_physx"),
    *("newton", "warp", "mujoco_warp", "ovphysx"),
)


def _quieten() -> None:
    """Keep off the screen what says nothing to a user of this program."""
    from isaaclab.utils.timer import Timer

    Timer.enable_display_output = False
    for package in _LIBRARIES:
        warnings.filterwarnings("ignore", module=rf"{package}\b")
        logging.getLogger(package).setLevel(logging.ERROR)
