"""Pictures of the two cameras that LIBERO's policies see, drawn when somebody looks."""

from typing import Any

import mujoco
import numpy as np
from PIL import Image

from headless_eval.sims import gl

CAMERAS = ("agentview", "robot0_eye_in_hand")
SIDE = 256
"""Pixels a side as openpi's evaluation draws; what reads smaller pictures gets them scaled."""


class Cameras:
    """Draws the pictures of one task's environments, whose models differ in poses only.

    Args:
        model: of one of them; its meshes and textures serve all.

    Raises:
        UserError: no OpenGL for headless rendering.
    """

    def __init__(self, model: mujoco.MjModel):
        try:
            self._gl = mujoco.GLContext(SIDE, SIDE)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        except Exception as error:
            # Which exception says that there is no GL depends on the backend.
            raise gl.failure(error) from error
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        self._options = mujoco.MjvOption()
        self._options.geomgroup[0] = 0  # collision shapes, which robosuite does not show

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData) -> list[np.ndarray]:
        """Return the pictures of ``CAMERAS``, uint8 (SIDE, SIDE, 3), turned by 180 degrees.

        LIBERO's pictures come as OpenGL draws them, bottom row first, and policies are trained on them turned
        by 180 degrees: upright, left and right exchanged.
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
        """Return what draws, as OpenGL names it."""
        from OpenGL import GL

        self._gl.make_current()
        return str(GL.glGetString(GL.GL_RENDERER).decode())

    def close(self) -> None:
        """Free the GL context."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()


def scale(picture: np.ndarray, size: int) -> np.ndarray:
    """Bring a square picture to ``size`` pixels a side; bilinear, as openpi's resize-with-pad does it."""
    if len(picture) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))


def observe(pictures: list[np.ndarray], state: np.ndarray, instruction: str, size: int) -> dict[str, Any]:
    """Return an observation with openpi's LIBERO keys; pictures of ``size`` pixels a side."""
    base, wrist = (scale(picture, size) for picture in pictures)
    return {
        "observation/image": base.copy(),
        "observation/wrist_image": wrist.copy(),
        "observation/state": state.astype(np.float32),
        "prompt": instruction,
    }
