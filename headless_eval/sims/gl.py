"""Headless OpenGL for MuJoCo: choice of the backend, and a clear error if OpenGL is missing."""

import ctypes.util
import os
import sys
import warnings

from headless_eval.errors import UserError
from headless_eval.shared.memory import limited

# The library of each backend, and its packages on Debian and Ubuntu.
_BACKENDS = {
    "egl": ("EGL", "libegl1 libgl1-mesa-dri"),
    "osmesa": ("OSMesa", "libosmesa6"),
    "glfw": (None, "a display, and libglfw3"),
}


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


def load_mujoco() -> None:
    """Choose MuJoCo's rendering backend and import mujoco, which loads OpenGL during its import.

    Raises:
        UserError: the backend named by ``MUJOCO_GL`` is unknown, its library is missing, or mujoco was imported
            earlier with a backend that cannot render here.
    """
    if "mujoco" in sys.modules:
        _refuse_windows_without_display()
    choose_backend()
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
