"""Headless OpenGL for MuJoCo: choice of the backend and of who draws, and a clear error if OpenGL is missing."""

import ctypes.util
import json
import logging
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from headless_eval.errors import UserError
from headless_eval.shared.flags import flag
from headless_eval.shared.memory import limited
from headless_eval.sims import egl_beside_cuda
from headless_eval.sims.registry import SimulatorSettings

_log = logging.getLogger(__name__)

Render = Literal["gpu", "software"]

# The library of each backend, and its packages on Debian and Ubuntu.
_BACKENDS = {
    "egl": ("EGL", "libegl1 libgl1-mesa-dri"),
    "osmesa": ("OSMesa", "libosmesa6"),
    "glfw": (None, "a display, and libglfw3"),
}


# Where the dispatcher of EGL finds its vendors' libraries.
_VENDORS = (Path("/etc/glvnd/egl_vendor.d"), Path("/usr/share/glvnd/egl_vendor.d"))


@dataclass(frozen=True, kw_only=True)
class MujocoSettings(SimulatorSettings):
    """Settings of simulators that draw with MuJoCo."""

    render: Annotated[
        Render | None, flag("gpu|software", "gpu, or software if EGL fails beside CUDA", simulator="mujoco")
    ] = None
    """What draws the pictures, headless."""


_told: dict[str, str] = {}  # for the manifest: what draws otherwise than by default, and why


def choose_backend() -> None:
    """Set the environment variable ``MUJOCO_GL`` to EGL if the user has not set it.

    MuJoCo reads the variable when it is imported, so this must run before. ``load_mujoco`` calls it.
    """
    if sys.platform.startswith("linux"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    if os.environ.get("MUJOCO_GL") == "egl":
        # Without a display server Mesa must use its surfaceless platform.
        os.environ.setdefault("EGL_PLATFORM", "surfaceless")
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    elif os.environ.get("MUJOCO_GL") == "glfw":
        # ``failure`` reports a failed start in one line, so glfw's own warning is not needed.
        warnings.filterwarnings("ignore", module="glfw")


def load_mujoco(render: Render | None = None) -> None:
    """Choose MuJoCo's rendering backend and import mujoco, which loads OpenGL during its import.

    Args:
        render: what draws; None: what EGL finds, a GPU as a rule, unless it fails beside CUDA, which a process that
            uses CUDA first lets a child process try. What was chosen at the first import stays.

    Raises:
        UserError: the backend named by ``MUJOCO_GL`` is unknown, its library is missing, mujoco was imported
            earlier with a backend that cannot render here, or nothing here draws in software.
    """
    if "mujoco" in sys.modules:
        _refuse_windows_without_display()
        if render == "software" and not _told:
            raise UserError("--render software comes too late: this process has already imported mujoco")
    choose_backend()
    if "mujoco" not in sys.modules:
        _choose_renderer(render)
    backend = os.environ.get("MUJOCO_GL", "glfw")
    if backend not in _BACKENDS:
        raise UserError(
            f"MUJOCO_GL is {backend!r}; it must be {', '.join(_BACKENDS)}: egl draws without a display"
        )
    library, packages = _BACKENDS[backend]
    if library is not None and ctypes.util.find_library(library) is None:
        raise UserError(
            f"no OpenGL library for headless rendering: lib{library} is missing; "
            f"on Debian or Ubuntu: apt-get install {packages}"
        )
    try:
        import mujoco  # noqa: F401
    except ModuleNotFoundError:
        raise
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        # The type of the exception for missing OpenGL depends on the backend.
        raise failure(error) from error


def _choose_renderer(render: Render | None) -> None:
    """Let EGL draw in software if that is wanted, or if a GPU's EGL fails beside CUDA."""
    if render == "software":
        _draw_in_software("--render software")
    elif render is None and os.environ.get("MUJOCO_GL") == "egl" and _uses_cuda():
        outcome = egl_beside_cuda.try_it()
        if outcome.well is False:
            why = f"EGL beside CUDA {outcome.text}"
            _draw_in_software(why)
            _log.warning("%s: pictures are drawn in software, slower but safe (--render gpu would not)", why)


def _uses_cuda() -> bool:
    """Return whether torch computes on CUDA in this process."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _draw_in_software(why: str) -> None:
    """Let Mesa draw on the CPU, by EGL or else OSMesa; this process must not have loaded OpenGL.

    Raises:
        UserError: neither of them is there.
    """
    if vendor := _mesa():
        os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = "egl"
        os.environ |= {
            "__EGL_VENDOR_LIBRARY_FILENAMES": str(vendor),
            "EGL_PLATFORM": "surfaceless",
            "LIBGL_ALWAYS_SOFTWARE": "1",
        }
        os.environ.pop("MUJOCO_EGL_DEVICE_ID", None)  # the index of a GPU; Mesa has one device
    elif ctypes.util.find_library("OSMesa"):
        os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = "osmesa"
    else:
        raise UserError(
            f"{why}, and nothing here draws in software: on Debian or Ubuntu: apt-get install libegl-mesa0 "
            "libgl1-mesa-dri"
        )
    _told.update(render="software", render_why=why)


def _mesa() -> Path | None:
    """Return the file by which EGL finds Mesa; None where it is not installed."""
    for folder in _VENDORS:
        for path in sorted(folder.glob("*.json")):
            try:
                library = json.loads(path.read_text(encoding="utf-8"))["ICD"]["library_path"]
            except (OSError, ValueError, TypeError, KeyError):
                continue
            if "mesa" in str(library).lower():
                return path
    return None


def described() -> dict[str, str]:
    """Return what draws otherwise than by default, and why, for the manifest; empty: nothing does."""
    return dict(_told)


def renderer_name() -> str:
    """Return OpenGL's name of the renderer whose context is current."""
    from OpenGL import GL

    return str(GL.glGetString(GL.GL_RENDERER).decode())


def _refuse_windows_without_display() -> None:
    """Raise an error if mujoco was imported earlier with a backend that needs a display, and no display exists."""
    context = getattr(sys.modules["mujoco"], "GLContext", None)
    draws_in_windows = getattr(context, "__module__", "") == "mujoco.glfw"
    has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if draws_in_windows and sys.platform.startswith("linux") and not has_display:
        raise UserError(
            "mujoco was imported with a backend that needs a display: set MUJOCO_GL=egl in the environment, "
            "or start the simulator before anything imports mujoco"
        )


def failure(error: Exception) -> UserError:
    """Return an error that tells the user how to make rendering work."""
    backend = os.environ.get("MUJOCO_GL", "glfw")
    packages = _BACKENDS.get(backend, _BACKENDS["egl"])[1]
    reason = " ".join(str(error).split())
    # OpenGL says of too little memory whatever it was about to do.
    remedy = f"it needs {packages} (packages of Debian and Ubuntu)"
    if limit := limited():
        remedy = f"{limit}; if that does not help, {remedy}"
    return UserError(f"headless rendering does not start (MUJOCO_GL={backend}: {reason}); {remedy}")
