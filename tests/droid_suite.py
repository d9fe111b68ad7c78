"""What several tests share about the suite ``droid``; beside conftest.py, whose name folders below use again."""

from dataclasses import replace

BUNDLED_POLICY = "pi0-droid-tiny"
SHORT_STEPS = 16
SHORT_RUN = [
    "--policy",
    "random",
    "--dtypes",
    "float32",
    "--tasks",
    "1",
    "3",
    "--episodes",
    "3",
    "--videos",
    "none",
]


def short_tasks(monkeypatch):
    """Shorten the real suite's episodes."""
    from headless_eval.sims.droid import tasks as suite
    from headless_eval.sims.droid.mujoco import simulator as mujoco_sim

    tasks = tuple(replace(task, max_steps=SHORT_STEPS) for task in suite.TASKS)
    monkeypatch.setattr(suite, "TASKS", tasks)
    monkeypatch.setattr(mujoco_sim.DroidMujoco, "tasks", tasks)
