"""Headless OpenGL for MuJoCo: choosing the backend, and a clear word where there is none."""

import ctypes.util
import os
import sys
import warnings

from headless_eval.errors import UserError

# What each backend needs, and the packages that bring it on Debian and Ubuntu.
_BACKENDS = {
    "egl": ("EGL", "libegl1 libgl1-mesa-dri"),
    "osmesa": ("OSMesa", "libosmesa6"),
    "glfw": (None, "a display, and libglfw3"),
}


def choose_backend() -> None:
    """Set the environment variable ``MUJOCO_GL`` to EGL where the user chose nothing.

    MuJoCo reads it as it is imported, so this comes before. ``load_mujoco`` calls it.
    """
    if sys.platform.startswith("linux"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    if os.environ.get("MUJOCO_GL") == "egl":
        # Without a display server Mesa must not look for one.
        os.environ.setdefault("EGL_PLATFORM", "surfaceless")
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    elif os.environ.get("MUJOCO_GL") == "glfw":
        # What it warns of keeps MuJoCo from drawing, which is said in one line (``failure``).
        warnings.filterwarnings("ignore", module="glfw")


def load_mujoco() -> None:
    """Choose how MuJoCo draws and import mujoco, which loads OpenGL as it is imported.

    Raises:
        UserError: the backend named by ``MUJOCO_GL`` is unknown, or its library is missing; or mujoco has been imported
            before without a backend that draws here.
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
        # Which exception says that OpenGL does not load depends on the backend.
        raise failure(error) from error


def _refuse_windows_without_display() -> None:
    """Raise if mujoco, imported by somebody else, draws in windows and there is no display for them."""
    context = getattr(sys.modules["mujoco"], "GLContext", None)
    draws_in_windows = getattr(context, "__module__", "") == "mujoco.glfw"
    has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if draws_in_windows and sys.platform.startswith("linux") and not has_display:
        raise UserError(
            "mujoco was imported before it was told to draw without a display: set MUJOCO_GL=egl in the environment, "
            "or start the simulator before anything imports mujoco"
        )


def failure(error: Exception) -> UserError:
    """Turn a failure to draw into the message a user can act on."""
    backend = os.environ.get("MUJOCO_GL", "glfw")
    packages = _BACKENDS.get(backend, _BACKENDS["egl"])[1]
    reason = " ".join(str(error).split())
    return UserError(
        f"headless rendering does not start (MUJOCO_GL={backend}: {reason}); it needs {packages} "
        "(packages of Debian and Ubuntu)"
    )
