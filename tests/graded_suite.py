"""A suite whose tasks are solved as often as a known curve says, and a policy that chooses the curve's threshold.

An episode succeeds at its first step if its luck, drawn from its seed, is good enough for its level with the threshold
that the action names: the whole of a run, with adaptive levels, takes seconds.
"""

import numpy as np
from graded_cases import chance_of_success, graded_tasks

from headless_eval.contracts.simulator import StepResult
from headless_eval.sims.registry import Suite

TASKS = graded_tasks()


class Lucky:
    suite, control_hz, metrics = "graded", 15.0, {}

    def __init__(self, settings=None, num_slots=1, tasks=TASKS, **options):
        self.tasks, self.num_slots = tuple(tasks), num_slots
        self.slots = {}

    def reset(self, slot, task, seed):
        luck = np.random.default_rng([seed.seed, seed.task, seed.episode]).random()
        self.slots[slot] = (task, luck)

    def initial_state(self, slot):
        return np.array([self.slots[slot][1]])

    def observe(self, slots):
        image = np.zeros((224, 224, 3), np.uint8)
        return [
            {
                "observation/exterior_image_1_left": image,
                "observation/wrist_image_left": image,
                "observation/joint_position": np.zeros(7, np.float32),
                "observation/gripper_position": np.zeros(1, np.float32),
                "prompt": self.slots[slot][0].instruction,
            }
            for slot in slots
        ]

    def step(self, actions):
        found = {}
        for slot, action in actions.items():
            task, luck = self.slots[slot]
            success = luck < chance_of_success(task.difficulty.value, float(action[0]))
            found[slot] = StepResult(bool(success), over=not success)
        return found

    def frame(self, slot):
        return np.zeros((64, 64, 3), np.uint8)

    def describe(self):
        return {"simulator": "luck"}

    def close(self):
        pass


class Threshold:
    """A policy whose threshold is a setting, so that its variants differ as precisions do."""

    robot, stateless = "droid", True

    def __init__(self):
        self.threshold = 1.0

    def configure(self, threshold: float = 1.0):
        self.threshold = threshold

    def infer(self, obs):
        actions = np.zeros((8, 8), np.float32)
        actions[:, 0] = self.threshold
        return {"actions": actions}


SUITE = Suite("graded", "graded tasks solved by luck", TASKS, {"luck": Lucky})
