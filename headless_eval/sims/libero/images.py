"""Images of the two cameras that LIBERO's policies use, rendered on request."""

from typing import Any

import mujoco
import numpy as np
from PIL import Image

from headless_eval.sims import gl

CAMERAS = ("agentview", "robot0_eye_in_hand")
SIDE = 256
"""Side of a rendered image in pixels, as in openpi's evaluation; policies with smaller inputs get it resized."""


class Cameras:
    """Renderer for all environments of one task, whose models differ only in poses.

    Args:
        model: the model of one of the environments; its meshes and textures serve all of them.

    Raises:
        UserError: OpenGL for headless rendering is missing.
    """

    def __init__(self, model: mujoco.MjModel):
        try:
            self._gl = mujoco.GLContext(SIDE, SIDE)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        except Exception as error:
            # The type of the exception for missing OpenGL depends on the backend.
            raise gl.failure(error) from error
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        self._options = mujoco.MjvOption()
        self._options.geomgroup[0] = 0  # collision shapes, which robosuite does not show

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData) -> list[np.ndarray]:
        """Return the images of ``CAMERAS``, uint8 (SIDE, SIDE, 3), rotated by 180 degrees.

        LIBERO's images have OpenGL's order, bottom row first, and policies are trained on these images rotated by 180
        degrees: upright, with left and right exchanged.
        """
        self._gl.make_current()
        viewport = mujoco.MjrRect(0, 0, SIDE, SIDE)
        pictures = []
        for name in CAMERAS:
            self._camera.fixedcamid = model.camera(name).id
            mujoco.mjv_updateScene(
                model,
                data,
                self._options,
                None,
                self._camera,
                mujoco.mjtCatBit.mjCAT_ALL.value,
                self._scene,
            )
            mujoco.mjr_render(viewport, self._scene, self._context)
            picture = np.empty((SIDE, SIDE, 3), np.uint8)
            mujoco.mjr_readPixels(picture, None, viewport, self._context)
            pictures.append(np.ascontiguousarray(picture[::-1, ::-1]))
        return pictures

    def renderer_name(self) -> str:
        """Return OpenGL's name of the renderer."""
        self._gl.make_current()
        return gl.renderer_name()

    def close(self) -> None:
        """Free the GL context."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()


def scale(picture: np.ndarray, size: int) -> np.ndarray:
    """Resize a square image to ``size`` pixels a side; bilinear, like openpi's resize-with-pad."""
    if len(picture) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))


def observe(pictures: list[np.ndarray], state: np.ndarray, instruction: str, size: int) -> dict[str, Any]:
    """Return an observation with openpi's LIBERO keys; images are uint8 (size, size, 3), the state float32 (8,)."""
    base, wrist = (scale(picture, size) for picture in pictures)
    return {
        "observation/image": base.copy(),
        "observation/wrist_image": wrist.copy(),
        "observation/state": state.astype(np.float32),
        "prompt": instruction,
    }
