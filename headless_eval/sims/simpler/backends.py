"""Starts the SimplerEnv suites; nothing of SAPIEN is imported before."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from headless_eval.contracts.simulator import Simulator, Task
from headless_eval.sims.simpler.suites import SimplerSettings


def start(
    suite: str,
    settings: SimplerSettings,
    *,
    num_slots: int = 1,
    tasks: Sequence[Task] = (),
    image_size: int | None = None,
    **options: Any,
) -> Simulator:
    """Return the simulator of a SimplerEnv suite.

    Args:
        suite: its name.
        settings: the folder of assets, by default ``$SIMPLER_ASSETS``, and what counts as success.
        num_slots: independent episodes at once.
        tasks: those of the run.
        image_size: what the policy reads; it is given pictures of the camera's size all the same.
        options: see ``Simpler``.

    Raises:
        UserError: SAPIEN, its assets or a Vulkan device are missing.
    """
    from headless_eval.sims.simpler.assets import chosen_assets
    from headless_eval.sims.simpler.vulkan import load_sapien

    assets = chosen_assets(settings.simpler_assets)
    load_sapien()
    from headless_eval.sims.simpler.simulator import Simpler

    rule = settings.simpler_success
    return Simpler(assets, suite, num_slots=num_slots, tasks=tasks, success=rule, **options)


simpler_bridge = partial(start, "simpler_bridge")
simpler_fractal = partial(start, "simpler_fractal")
