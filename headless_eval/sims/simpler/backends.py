"""Starts the SimplerEnv suites; nothing of SAPIEN is imported before."""

from functools import partial
from pathlib import Path
from typing import Any

from headless_eval.contracts.simulator import Simulator


def start(
    suite: str,
    *,
    simpler_assets: Path | None = None,
    simpler_success: str | None = None,
    image_size: int | None = None,
    **settings: Any,
) -> Simulator:
    """Return the simulator of a SimplerEnv suite.

    Args:
        suite: its name.
        simpler_assets: the folder of assets; by default ``$SIMPLER_ASSETS``.
        simpler_success: ``final`` or ``any``, see ``Simpler``; by default ``final``.
        image_size: what the policy reads; it is given pictures of the camera's size all the same.
        settings: see ``Simpler``.

    Raises:
        UserError: SAPIEN, its assets or a Vulkan device are missing, or there is no such rule of success.
    """
    from headless_eval.errors import UserError
    from headless_eval.sims.simpler.assets import chosen_assets
    from headless_eval.sims.simpler.vulkan import load_sapien

    rule = simpler_success or "final"
    if rule not in ("final", "any"):
        raise UserError(f"--simpler-success is {rule!r}; it must be final or any")
    assets = chosen_assets(simpler_assets)
    load_sapien()
    from headless_eval.sims.simpler.simulator import Simpler

    return Simpler(assets, suite, success=rule, **settings)  # type: ignore[arg-type]


simpler_bridge = partial(start, "simpler_bridge")
simpler_fractal = partial(start, "simpler_fractal")
