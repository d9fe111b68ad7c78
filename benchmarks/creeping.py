"""How often a target that is dropped into its container does not come to rest.

python benchmarks/creeping.py [--drops 100]

Drops the target of each scene from 8 to 15 cm over the container, turned at random, the robot away, and looks at it for
15 s. It creeps if it turns faster than 0.3 rad/s in more than 20 % of the last 5 s. Printed for the contact model as it
is and without ``sims/droid/mujoco/steadying.py``.
"""

import argparse
from unittest import mock

import numpy as np

from headless_eval.sims.droid.mujoco import steadying
from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot
from headless_eval.sims.droid.scenes import SCENES, ContainerScene
from headless_eval.sims.droid.success import REST_ANGULAR
from headless_eval.sims.droid.tabletop import CONTROL_HZ, InitialState

SECONDS, LAST, SHARE = 15, 5, 0.2


def dropped(scene: ContainerScene, generator: np.random.Generator) -> InitialState:
    """Return a drawn initial state with the target above the container, turned at random."""
    state = scene.draw(generator)
    sideways, height = generator.uniform(-0.03, 0.03, 2), generator.uniform(0.08, 0.15)
    turned = generator.normal(size=4)
    state.poses[0] = [*(state.poses[1, :3] + [*sideways, height]), *(turned / np.linalg.norm(turned))]
    return state


def watch(slot: Slot, state: InitialState, seconds: float = SECONDS) -> tuple[np.ndarray, int | None]:
    """Return the target's angular speed after each control step, and the step of success; the robot is still."""
    slot.reset(state)
    still = np.append(state.joints, 0.0)
    speeds, success = [], None
    for step in range(round(seconds * CONTROL_HZ)):
        if slot.step(still) and success is None:
            success = step
        speeds.append(float(np.linalg.norm(slot.situation().target_velocity[3:])))
    return np.array(speeds), success


def report(scene: ContainerScene, drops: int) -> str:
    """Return a line: how many drops ended inside, and how many of those creep."""
    slot, generator = Slot(SceneModel(scene)), np.random.default_rng(0)
    inside = creeping = 0
    successes = []
    for _ in range(drops):
        speeds, success = watch(slot, dropped(scene, generator))
        if slot.tracker is not None and slot.tracker.is_there(slot.situation()):
            inside += 1
            creeping += (speeds[-round(LAST * CONTROL_HZ) :] > REST_ANGULAR).mean() > SHARE
            successes.append(np.inf if success is None else success / CONTROL_HZ)
    return f"{inside} inside, {creeping} creep, latest success after {max(successes):.1f} s"


def main() -> None:
    """Print both contact models for each scene."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--drops", type=int, default=100)
    drops = arguments.parse_args().drops
    for scene in SCENES:
        with mock.patch.object(steadying, "RESTLESS_STEPS", float("inf")):
            print(f"{scene.key} without steadying: {report(scene, drops)}", flush=True)
        print(f"{scene.key}: {report(scene, drops)}", flush=True)


if __name__ == "__main__":
    main()
