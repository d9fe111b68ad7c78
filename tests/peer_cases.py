"""Files of other evaluators.

``results/peers/data`` holds files of lerobot-eval: its own functions of 0.3.3 and 0.4.4 wrote them, for a toy
environment and a toy policy. Recordings of vla-eval are written here in the layout of its 0.8.0; a test writes one with
the package's own code where that is installed.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paths import ROOT

DATA = ROOT / "tests" / "results" / "peers" / "data"

TABLES = """
CREATE TABLE eval_metadata (eval_id TEXT PRIMARY KEY, safe_name TEXT NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE episode_results (
    sid TEXT NOT NULL, eid TEXT NOT NULL, eval_id TEXT NOT NULL, task_name TEXT, episode_id INTEGER, status TEXT,
    metrics TEXT, steps INTEGER, elapsed_sec REAL, context TEXT, jsonl_path TEXT, failure_reason TEXT,
    failure_detail TEXT, PRIMARY KEY (sid, eid)
);
CREATE TABLE step_rows (
    sid TEXT NOT NULL, eid TEXT NOT NULL, step_id INTEGER NOT NULL, fields TEXT NOT NULL,
    PRIMARY KEY (sid, eid, step_id)
);
"""
TASKS = ("put the cube in the bowl", "open the drawer")
DETAIL = "Traceback (most recent call last):\n  …\nRuntimeError: it diverged"


def eval_info(
    successes: Mapping[str, Sequence[bool]], group: str = "libero_spatial", **more: Any
) -> dict[str, Any]:
    """Return the content of an ``eval_info.json`` as of LeRobot 0.4: outcomes by the task's number."""
    outcomes = [one for of in successes.values() for one in of]
    tasks = [
        {
            "task_group": group,
            "task_id": int(task),
            "metrics": {"sum_rewards": [float(one) for one in of], "successes": list(of), "video_paths": []},
        }
        for task, of in successes.items()
    ]
    rate = 100 * sum(outcomes) / len(outcomes) if outcomes else None
    return {"per_task": tasks, "per_group": {}, "overall": {"pc_success": rate, "eval_s": 2.5}} | more


def write_eval_info(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2))
    return path


def recording(
    path: Path, letters: Mapping[str, str], *, seed: int | None = 7, actions: bool = True, gain: float = 0.5
) -> Path:
    """Write a recording with the outcomes of episodes by task, a letter each: success, failure, error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    database.executescript(TABLES)
    most = max(map(len, letters.values()))
    params = {} if seed is None else {"seed": seed}
    config = {"benchmark": "toy:Toy", "episodes_per_task": most, "max_steps": 9, "params": params}
    metadata = {"benchmark": "Toy", "mode": "sync", "config": config, "harness_version": "0.8.0"}
    database.execute("INSERT INTO eval_metadata VALUES ('e-Toy', 'Toy', ?)", [json.dumps(metadata)])
    for index, (task, outcomes) in enumerate(letters.items()):
        for episode, letter in enumerate(outcomes):
            add_result(database, task, index, episode, letter)
            for step in range(3 if actions and letter != "e" else 0):
                fields = {"reward": 0.0, "action": [gain * step, 0.25]}
                row = ("s", f"{index}-{episode}", step, json.dumps(fields))
                database.execute("INSERT INTO step_rows VALUES (?, ?, ?, ?)", row)
    database.commit()
    database.close()
    return path


def add_result(
    database: sqlite3.Connection, task: str, index: int | None, episode: int, letter: str, **changes: Any
) -> None:
    """Write a row of ``episode_results``."""
    context = {"name": task, "episode_idx": episode} | ({} if index is None else {"task_idx": index})
    row = {
        "sid": "s",
        "eid": f"{index}-{episode}",
        "eval_id": "e-Toy",
        "task_name": task,
        "episode_id": episode,
        "status": {"s": "success", "f": "fail", "e": "error"}[letter],
        "metrics": json.dumps({"success": letter == "s"}),
        "steps": 0 if letter == "e" else 3,
        "elapsed_sec": 0.0 if letter == "e" else 1.5,
        "context": json.dumps(context),
        "jsonl_path": "episodes/x.jsonl",
        "failure_reason": "env_step" if letter == "e" else None,
        "failure_detail": DETAIL if letter == "e" else None,
    } | changes
    marks = ", ".join("?" * len(row))
    database.execute(f"INSERT INTO episode_results ({', '.join(row)}) VALUES ({marks})", list(row.values()))
