"""``list`` names what there is to run."""

import json

from headless_eval.cli.main import main


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for word in (
        "zero",
        "pi05_droid",
        "float8_e5m2",
        "int4",
        "activations_only",
        "put the can in the mug",
        "mujoco",
    ):
        assert word in out
    assert "headless-eval list --suite libero_90" in out  # whose tasks are too many
    assert main(["list", "--suite", "libero_90"]) == 0
    out = capsys.readouterr().out
    assert "task_89" in out
    assert "scene_1" not in out
    assert main(["list", "--json"]) == 0
    there = json.loads(capsys.readouterr().out)
    assert [task["key"] for task in there["suites"]["droid"]["tasks"]] == ["scene_1", "scene_2", "scene_3"]
    assert "float32" in there["dtypes"]
