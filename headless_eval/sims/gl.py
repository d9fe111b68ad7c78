"""Headless OpenGL for MuJoCo: choosing the backend, and a clear word where there is none."""

import ctypes.util
import os
import sys

from headless_eval.errors import UserError

_HELP = (
    "no OpenGL library for headless rendering was found (libEGL). Install it, on Debian or Ubuntu: "
    "apt-get install libegl1 libgl1-mesa-dri; or set MUJOCO_GL=osmesa with libosmesa6 installed"
)


def choose_backend() -> None:
    """Set ``MUJOCO_GL`` to EGL where the user chose nothing; must run before mujoco is imported."""
    if sys.platform.startswith("linux"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    if os.environ.get("MUJOCO_GL") == "egl":
        # Without a display server Mesa must not look for one.
        os.environ.setdefault("EGL_PLATFORM", "surfaceless")
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")


def check() -> None:
    """Raise UserError where no GL library can be loaded for the chosen backend."""
    backend = os.environ.get("MUJOCO_GL", "")
    library = {"egl": "EGL", "osmesa": "OSMesa"}.get(backend)
    if library is not None and ctypes.util.find_library(library) is None:
        raise UserError(_HELP)


def failure(error: Exception) -> UserError:
    """Turn a failure to make a GL context into the message a user can act on."""
    return UserError(f"{_HELP} (MUJOCO_GL={os.environ.get('MUJOCO_GL', '')}: {error})")
