"""The table of open-pi-zero's published tasks is put together rightly."""

import json
import subprocess
import sys

from paths import ROOT


def _table(results):
    command = [sys.executable, ROOT / "benchmarks" / "simpler_published.py", "table", results]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_tasks_that_the_published_table_averages_are_added_up(tmp_path):
    for task, (successes, episodes) in {0: (3, 4), 1: (2, 4), 2: (1, 4)}.items():
        folder = tmp_path / f"fractal_beta_task_{task}"
        folder.mkdir()
        rows = [
            {"status": "success", "success": index < successes, "total_s": 2.0} for index in range(episodes)
        ]
        rows.append({"status": "error", "success": False, "total_s": 9.0})
        (folder / "simpler_fractal_results.json").write_text(json.dumps({"results": rows}))
    said = _table(tmp_path)
    assert "50.0 % (25.4 to 74.6) of 12; 97.9 published; 2.0 s an episode" in said
    assert "not run; 85.4 published" in said
    assert len([line for line in said.splitlines() if line.startswith("|")]) == 8


def test_the_script_explains_itself():
    done = subprocess.run(
        [ROOT / "benchmarks" / "simpler_published.sh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "CKPT_DIR" in done.stderr
