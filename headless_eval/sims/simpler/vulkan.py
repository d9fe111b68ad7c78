"""SAPIEN's Vulkan device: search for a device, and a clear error if no device is found."""

import importlib.util
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from headless_eval.errors import UserError

_HELP = (
    "a GPU's driver brings one, or Mesa's lavapipe from version 23 (in Debian 12: from backports); "
    "SUITE=simpler_bridge scripts/run_headless.sh sets one up, VK_ICD_FILENAMES names another"
)
_VARIABLES = ("VK_ICD_FILENAMES", "VK_DRIVER_FILES")
_OWN = Path(sys.prefix) / "vulkan" / "lvp_icd.json"
"""Where ``scripts/environment.sh`` puts lavapipe; no file of the system is touched."""


def load_sapien() -> Any:
    """Import SAPIEN with a Vulkan device chosen: the user's, a GPU's, or lavapipe beside this environment.

    Raises:
        UserError: SAPIEN is not installed, or there is no Vulkan device that it can draw with.
    """
    for package in ("sapien", "ruckig"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"the SimplerEnv suites need {package}, which is not installed: "
                "SUITE=simpler_bridge scripts/run_headless.sh sets it up, or pip install 'headless-eval[simpler]'"
            )
    if not any(os.environ.get(name) for name in _VARIABLES) and _OWN.is_file() and not _has_gpu():
        os.environ["VK_ICD_FILENAMES"] = str(_OWN)
    # Ray tracing takes minutes a frame on a CPU and is not used on a GPU either: pictures are to be the same.
    os.environ.setdefault("SAPIEN_DISABLE_RAY_TRACING", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it brings its own libvulkan
        import sapien

    # It prints a line for every mesh and for every device that it tries.
    sapien.set_log_level("critical")
    sapien.render.set_log_level("critical")
    try:
        sapien.render.RenderSystem()
    except RuntimeError as error:
        raise UserError(
            f"there is no Vulkan device to draw with ({' '.join(str(error).split())}): {_HELP}"
        ) from error
    return sapien


def device_name() -> str:
    """Return the name of the device that SAPIEN draws with."""
    import sapien

    first = str(sapien.render.get_device_summary()).splitlines()[0]
    return first.removeprefix("GPU:").strip()


def _has_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or any(Path("/dev/dri").glob("renderD*"))
