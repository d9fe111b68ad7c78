"""Agreement of Isaac Lab with MuJoCo on the suite droid_precise: the same joint targets, executed in both.

.venv/bin/python benchmarks/isaaclab_precise.py record FOLDER [--episodes 5]
.venv-isaaclab/bin/python benchmarks/isaaclab_precise.py replay FOLDER [--physics newton physx] [--families place ...]

``record`` lets the scripted expert solve episodes in MuJoCo, and keeps what it sent to the joints. ``replay`` sends it
to them in Isaac Lab, where nothing corrects it, and prints for each family and engine how many episodes of each level
succeed, how far the target (in ``press`` the gripper) ends from where it ended in MuJoCo, median and largest, and how
far the arm's joints part from MuJoCo's on the way, the largest.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

SEED, REST = 7, 45  # control steps after the expert is done, so that things come to rest
FAMILIES = ("place", "stack", "insert", "thread", "carry", "press")


def tasks_of(family: str) -> list[Any]:
    """Return a family's tasks."""
    from headless_eval.sims.registry import find_suite

    tasks = find_suite("droid_precise").load_tasks()
    return [task for task in tasks if task.difficulty and task.difficulty.family == family]


def record(folder: Path, family: str, episodes: int) -> None:
    """Write a file for each episode that the expert solves in MuJoCo."""
    from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot
    from headless_eval.sims.droid.precise.scenes import SCENES
    from headless_eval.training.precise_demonstrations import expert_of

    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks_of(family):
        slot = Slot(SceneModel(next(scene for scene in SCENES if scene.id == task.id)))
        for episode in range(episodes):
            slot.reset(slot.scene_model.scene.draw(task.trial_seed(SEED, episode).initial_state()))
            initial = slot.initial.numbers
            expert = expert_of(slot, np.random.default_rng(episode))
            actions, joints, left = [], [], None
            while left != 0 and len(actions) < task.max_steps:
                actions.append(expert.action().astype(np.float32))
                solved = slot.step(actions[-1])
                joints.append(slot.joint_position.copy())
                left = REST if solved and left is None else left if left is None else left - 1
            if left is None:
                print(f"{task.key}, episode {episode}: the expert fails in MuJoCo", file=sys.stderr)
                continue
            file, end = folder / f"{task.key}_{episode}.npz", end_of(slot.scene_model.scene, slot.situation())
            np.savez_compressed(
                file, actions=actions, joints=np.array(joints, np.float32), end=end, initial=initial
            )


def end_of(scene: Any, now: Any) -> np.ndarray:
    """Return where the target is, or where nothing moves the gripper's midpoint, (3,)."""
    return now.tcp if scene.bodies[0].fixed else now.target_pose[:3]


def replay(folder: Path, physics: str, family: str) -> None:
    """Print one line of the table."""
    from headless_eval.contracts.simulator import hash_of_state
    from headless_eval.sims.droid.suites import DroidSettings
    from headless_eval.sims.registry import find_suite

    tasks = tasks_of(family)
    found = {
        task: {
            int(file.stem.rsplit("_", 1)[1]): np.load(file) for file in sorted(folder.glob(f"{task.key}_*"))
        }
        for task in tasks
    }
    slots = max(map(len, found.values()))
    settings = DroidSettings(sim="isaaclab", physics=physics)
    made = find_suite("droid_precise").make
    simulator: Any = made(settings, num_slots=slots, tasks=tasks, image_size=96, frame_size=96)
    solved, apart, joints_apart = [], [], []
    for task, plans in found.items():
        episodes = dict(enumerate(plans.values()))
        for slot, number in enumerate(plans):
            simulator.reset(slot, task, task.trial_seed(SEED, number))
            assert hash_of_state(simulator.initial_state(slot)) == hash_of_state(episodes[slot]["initial"])
        success = dict.fromkeys(episodes, False)
        actions = {slot: episode["actions"] for slot, episode in episodes.items()}
        joints = {slot: episode["joints"] for slot, episode in episodes.items()}
        for step in range(max(map(len, actions.values()), default=0)):
            moving = {slot: plan[step] for slot, plan in actions.items() if step < len(plan)}
            success |= {slot: True for slot, result in simulator.step(moving).items() if result.success}
            now = simulator._read()
            joints_apart += [
                np.abs(now.joints[slot, simulator._arm] - joints[slot][step]).max() for slot in moving
            ]
            for slot in moving:
                if step == len(actions[slot]) - 1:
                    scene = simulator._scene_of(task)
                    end = end_of(scene, simulator._situation(now, slot, scene))
                    apart.append(1000 * np.linalg.norm(end - episodes[slot]["end"]))
        solved.append(f"{sum(success.values())} of {len(episodes)}")
    simulator.close()
    names = ", ".join(f"{task.difficulty.value:g}" for task in tasks)
    names += f" {tasks[0].difficulty.unit}"
    spread = f"{np.median(apart):.2f}, {max(apart):.1f} mm"
    print(
        f"| {family}: {names} | {physics} | {' | '.join(solved)} | {spread} | {max(joints_apart):.4f} rad |"
    )


def main() -> None:
    """Record, or replay each family in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("record", "replay"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--physics", nargs="+", default=["newton", "physx"])
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--episodes", type=int, default=5)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.what == "record":
        for family in args.families:
            record(args.folder, family, args.episodes)
    elif args.here:
        replay(args.folder, args.physics[0], args.families[0])
    else:
        print("| family: levels | physics | 1 | 2 | 3 | 4 | 5 | targets' ends apart | joints apart |")
        print("|---|---|---:|---:|---:|---:|---:|---:|---:|", flush=True)
        for family in args.families:
            for physics in args.physics:
                command = [sys.executable, __file__, "replay", str(args.folder), "--here"]
                subprocess.run([*command, "--physics", physics, "--families", family], check=True)


if __name__ == "__main__":
    main()
