"""Assets of SimplerEnv that are damaged (sims/simpler/objects.py): a line, and no run."""

import os
import shutil

import pytest
from paths import SHARED

from headless_eval.cli.main import main

ASSETS = SHARED / "simpler_assets"

pytestmark = [
    pytest.mark.simpler,
    pytest.mark.skipif(not ASSETS.is_dir(), reason="no SimplerEnv assets in ../shared/simpler_assets"),
]

DAMAGED = {
    "no mesh": ("custom/models/bridge_spoon_generated_modified/collision.obj", b"", "holds no mesh"),
    "a mesh of garbage": ("custom/models/bridge_spoon_generated_modified/collision.obj", b"\xff\0\n" * 99, "Unicode"),
    "points that are none": ("custom/models/bridge_spoon_generated_modified/collision.obj", b"f 1 2 9\n", "Index"),
    "a table cut off": ("custom/info_bridge_custom_v0.json", b"{", "not JSON"),
    "a robot cut off": ("robots/widowx_description/wx250s.urdf", b"<robot><link", "XMLSyntaxError"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_assets_are_one_line(damage, tmp_path, capsys):
    name, content, word = DAMAGED[damage]
    shutil.copytree(ASSETS, tmp_path / "assets", copy_function=os.symlink)
    (tmp_path / "assets" / name).unlink()
    (tmp_path / "assets" / name).write_bytes(content)
    flags = ["--suite", "simpler_bridge", "--tasks", "widowx_spoon_on_towel", "--policy", "zero", "--quiet"]
    flags += [
        "--simpler-assets",
        str(tmp_path / "assets"),
        "--results",
        str(tmp_path / "run"),
        "--episodes",
        "1",
    ]
    assert main(["run", *flags]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("headless-eval: error: ")
    assert word in said
    assert not (tmp_path / "run").exists()
