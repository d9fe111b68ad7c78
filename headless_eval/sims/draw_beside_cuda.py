"""Draws pictures by EGL while torch computes in another thread, in one process, as a run does."""

import argparse
import sys
import threading
from collections.abc import Sequence
from time import monotonic

from headless_eval.sims.egl_beside_cuda import NOT_TRIED

_PICTURES, _DRAWING_SECONDS, _SIDE = 1000, 5.0, 224
_SCENE = """
<mujoco>
  <visual><global offwidth="640" offheight="480"/></visual>
  <worldbody>
    <light pos="0 0 3"/>
    <geom type="plane" size="2 2 .1"/>
    <body pos="0 0 1"><freejoint/><geom type="box" size=".1 .2 .3" rgba="1 0 0 1"/></body>
  </worldbody>
</mujoco>
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw pictures while torch computes; print how many and by what, and return the exit status."""
    parser = argparse.ArgumentParser(description="Draw pictures by EGL while torch computes, in one process.")
    parser.add_argument("--device", default="cuda", help="what torch computes on (default: cuda)")
    parser.add_argument(
        "--pictures", type=int, default=_PICTURES, help=f"how many, in 5 s (default: {_PICTURES})"
    )
    chosen = parser.parse_args(arguments)

    import torch

    # CUDA first, as in a run: the policy is loaded before the simulator starts.
    try:
        numbers = torch.randn(512, 512, device=chosen.device)
        (numbers @ numbers).cpu()
    except (RuntimeError, AssertionError) as error:  # torch raises the latter where it was built without CUDA
        print(" ".join(str(error).split()), file=sys.stderr)
        return NOT_TRIED
    from headless_eval.sims import gl

    gl.load_mujoco("gpu")
    import mujoco

    done, computed = threading.Event(), 0

    def compute() -> None:
        nonlocal computed
        while not done.is_set():
            product = numbers @ numbers
            numbers.copy_(product / product.abs().max())
            product.cpu()
            computed += 1

    thread = threading.Thread(target=compute)
    thread.start()
    began = monotonic()
    try:
        model = mujoco.MjModel.from_xml_string(_SCENE)
        data = mujoco.MjData(model)
        renderers = [mujoco.Renderer(model, _SIDE, _SIDE) for _ in range(2)]
        renderer_name = gl.renderer_name()
        drawn = 0
        while drawn < chosen.pictures and monotonic() - began < _DRAWING_SECONDS:
            mujoco.mj_step(model, data)
            renderer = renderers[drawn % len(renderers)]
            renderer.update_scene(data)
            if not renderer.render().any():
                raise RuntimeError("a picture is black")
            drawn += 1
        for renderer in renderers:
            renderer.close()
    finally:
        done.set()
        thread.join()
    print(
        f"drew {drawn} pictures in {monotonic() - began:.1f} s by {renderer_name}, "
        f"beside {computed} products on {chosen.device}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
