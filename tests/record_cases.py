"""Records and manifests made up."""

from types import SimpleNamespace
from typing import Any

from headless_eval.contracts.simulator import Task
from headless_eval.contracts.variant import Variant
from headless_eval.results import EpisodeRecord
from headless_eval.results.manifest import build_manifest

TASKS = [
    Task(2, "scene_2", "can in mug", "put the can in the mug", 450),
    Task(1, "scene_1", "cube in bowl", "put the cube in the bowl", 450),
]
CONFIGURATIONS = [
    Variant(SimpleNamespace(name="float32", dtype="float32", mode="weights_only", scope=".*")),
    Variant(SimpleNamespace(name="boolean_both", dtype="boolean", mode="both", scope=".*")),
]


def manifest(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "suite": "droid",
        "tasks": TASKS,
        "variants": CONFIGURATIONS,
        "episodes": 5,
        "seed": 7,
        "settings": {"slots": 4},
        "policy": {"name": "pi0-droid-tiny", "fingerprint": "f" * 64},
        "simulator": {"timestep_s": 0.002},
        "libraries": ("torch", "mujoco"),
    }
    return build_manifest(**arguments | changes)


def record(**changes: Any) -> EpisodeRecord:
    fields: dict[str, Any] = {
        "configuration": "float32",
        "dtype": "float32",
        "mode": "weights_only",
        "scope": ".*",
        "task_id": 1,
        "task_key": "scene_1",
        "task_name": "cube in bowl",
        "instruction": "put the cube in the bowl",
        "episode": 0,
        "status": "success",
        "success": True,
        "steps": 117,
        "max_steps": 450,
        "seed": 7,
        "replans": 15,
        "actions_sha256": "0123456789abcdef" * 4,
        "video": "videos/float32/scene_1_ep000_success.mp4",
        "sim_s": 0.52,
        "render_s": 0.31,
        "infer_s": 1.25,
        "total_s": 2.125,
        "started_at": "2026-11-21T08:00:00.250+00:00",
        "error": None,
    }
    return EpisodeRecord(**fields | changes)


def broken(**changes: Any) -> EpisodeRecord:
    error = {"type": "ValueError", "message": "joint 3\nis NaN", "traceback": "Traceback …"}
    return record(status="error", success=False, error=error, **changes)
