"""What is said where the SimplerEnv suites cannot run."""

import importlib.util

import pytest

from headless_eval.errors import UserError
from headless_eval.sims.registry import find_suite
from headless_eval.sims.simpler import vulkan
from headless_eval.sims.simpler.assets import Assets, chosen_assets
from headless_eval.sims.simpler.suites import SimplerSettings


def _folder(root, *parts):
    for part in parts:
        (root / part).mkdir(parents=True)
    return root


def test_assets_must_be_named(monkeypatch):
    monkeypatch.delenv("SIMPLER_ASSETS", raising=False)
    with pytest.raises(UserError, match="--simpler-assets or SIMPLER_ASSETS"):
        find_suite("simpler_bridge").make()


def test_a_folder_without_assets_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="do not exist"):
        find_suite("simpler_bridge").make(SimplerSettings(simpler_assets=tmp_path / "nowhere"))
    monkeypatch.setenv("SIMPLER_ASSETS", str(_folder(tmp_path, "custom")))
    with pytest.raises(UserError, match="real_inpainting/ is missing"):
        chosen_assets(None)


def test_a_missing_file_is_named(tmp_path):
    assets = Assets(_folder(tmp_path, "custom", "real_inpainting", "robots"))
    with pytest.raises(UserError, match=r"lack robots/widowx_description/wx250s\.urdf"):
        assets.robot(None)
    with pytest.raises(UserError, match="textured mesh of eggplant"):
        assets.surface("eggplant")


def test_originals_come_before_stand_ins_in_both_layouts(tmp_path):
    for layout, data in (("own", "own"), ("clone", "clone/data")):
        folder = _folder(tmp_path / data, "custom/models/eggplant", "real_inpainting").parent
        root = tmp_path / layout
        robots = "robots" if layout == "own" else "mani_skill2_real2sim/assets/descriptions"
        _folder(root, robots, "standins/eggplant")
        (root / "standins/eggplant/textured.glb").touch()
        assert Assets(root).surface("eggplant").suffix == ".glb"
        (tmp_path / data / "custom/models/eggplant/textured.dae").touch()
        assert Assets(root).surface("eggplant").suffix == ".dae"
        assert Assets(root).standins[0] == "eggplant/textured.glb"
        assert folder.is_dir()


def test_the_assets_hash_is_of_names_and_contents(tmp_path):
    root = _folder(tmp_path, "custom", "real_inpainting", "robots")
    before = Assets(root).sha256
    (root / "custom/a.json").write_text("{}")
    assert Assets(root).sha256 != before


def test_sapien_must_be_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"need sapien.*run_headless"):
        vulkan.load_sapien()


def test_a_missing_photograph_is_that_of_the_next_place(tmp_path):
    root = _folder(tmp_path, "custom", "real_inpainting", "robots")
    (root / "real_inpainting/open_drawer_c1.png").touch()
    assets = Assets(root)
    assert assets.photograph("open_drawer_c2").name == "open_drawer_c1.png"
    assert assets.standins == ("real_inpainting/open_drawer_c1.png for real_inpainting/open_drawer_c2.png",)
    (root / "real_inpainting/open_drawer_c2.png").touch()
    assert Assets(root).photograph("open_drawer_c2").name == "open_drawer_c2.png"
    assert not Assets(root).standins
