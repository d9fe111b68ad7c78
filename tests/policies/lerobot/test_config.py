"""What a LeRobot folder states, read without LeRobot."""

import json
import sys

import pytest
from lerobot_policies import CAMERAS, write_stated

from headless_eval.contracts.robots import ROBOTS
from headless_eval.errors import UserError
from headless_eval.local_policy import load_policy
from headless_eval.policies.lerobot.config import read_config, read_processor, stated_type
from headless_eval.policies.registry import find_claimant, find_family

KEYS = [camera.key for camera in ROBOTS["droid"].cameras]
WITHOUT_STATE = {name: {"type": "VISUAL", "shape": [3, 64, 64]} for name in CAMERAS}
ENVIRONMENT = {"observation.environment_state": {"type": "ENV", "shape": [3]}}


def write_ours(folder, text):
    (folder / "config.toml").write_text(f'family = "lerobot"\n{text}')
    return folder


def test_cameras_are_found_by_the_robots_names(tmp_path):
    config = read_config(write_stated(tmp_path / "mine"))
    assert (config.name, config.type, config.robot.name, config.state) == ("mine", "act", "droid", True)
    assert dict(config.cameras) == dict(zip(CAMERAS, KEYS, strict=True))
    assert config.image_size == 64


def test_cameras_are_found_by_openpis_names_of_views_and_by_lerobots_for_libero(tmp_path):
    pictures = {
        "observation.images.image": {},
        "observation.images.image2": {},
        "observation.images.empty_camera_0": {},
    }
    features = {name: {"type": "VISUAL", "shape": [3, 256, 256]} for name in pictures}
    features["observation.state"] = {"type": "STATE", "shape": [8]}
    action = {"action": {"type": "ACTION", "shape": [7]}}
    write_stated(tmp_path, kind="smolvla", input_features=features, output_features=action)
    config = read_config(tmp_path, robot="libero")
    assert list(config.cameras.values()) == ["observation/image", "observation/wrist_image"]
    assert set(config.sizes.values()) == {None}
    assert config.image_size == 224
    features = {"observation.images.base_0_rgb": {"type": "VISUAL", "shape": [3, 32, 32]}}
    write_stated(tmp_path, input_features=features)
    assert list(read_config(tmp_path).cameras.values()) == KEYS[:1]


def test_cameras_have_their_names_before_the_preprocessor_renames_them(tmp_path):
    renamed = {"observation.images.camera1": "observation.images.wrist_image_left"}
    names = {CAMERAS[0]: WITHOUT_STATE[CAMERAS[0]], "observation.images.camera1": WITHOUT_STATE[CAMERAS[1]]}
    write_stated(tmp_path, {new: old for old, new in renamed.items()}, input_features=names)
    assert dict(read_config(tmp_path).cameras) == dict(zip(CAMERAS, KEYS, strict=True))


def test_our_file_says_which_camera_is_which(tmp_path):
    features = {
        f"observation.images.camera{index}": {"type": "VISUAL", "shape": [3, 64, 64]} for index in (1, 2)
    }
    write_stated(tmp_path, input_features=features)
    with pytest.raises(
        UserError, match=r"sees observation.images.camera1, .*cameras exterior_image_1_left, wrist"
    ):
        read_config(tmp_path)
    write_ours(
        tmp_path, f'[cameras]\n"observation.images.camera1" = "{KEYS[1]}"\n"observation.images.camera2" = ""'
    )
    assert dict(read_config(tmp_path).cameras) == {"observation.images.camera1": KEYS[1]}
    assert find_family(tmp_path).read_config(tmp_path, None, None, None).robot.name == "droid"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[cameras]\n"observation.images.top" = ""', "observation.images.top is none of the policy's"),
        (f'[cameras]\n"{CAMERAS[0]}" = "observation/top"', "has no camera observation/top"),
        ('[cameras]\n"a" = 1', "table of texts"),
        ("robots = 1", "unknown key 'robots'"),
        ("robot = 1", "'robot' has to be a text"),
        ('robot = "libero"', "libero has 7 and 8"),
    ],
)
def test_our_file_is_checked(text, message, tmp_path):
    write_ours(write_stated(tmp_path), text)
    with pytest.raises(UserError, match=message):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_features": {**WITHOUT_STATE, **ENVIRONMENT}},
         "needs observation.environment_state, which suites do not show"),
        ({"input_features": {CAMERAS[0]: {"type": "VISUAL", "shape": [3, 480, 640]}}}, "480x640"),
        ({"output_features": {"action": {"type": "ACTION", "shape": [14]}}}, "14 actions"),
        ({"output_features": {}}, "no configuration of LeRobot"),
        ({"kind": None}, "names no type"),
    ],
)  # fmt: skip
def test_what_no_suite_shows_is_refused(change, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read_config(write_stated(tmp_path, **change))


def test_processors_read_files_of_their_folder_alone(tmp_path):
    write_stated(tmp_path)
    path = tmp_path / "policy_preprocessor.json"
    path.write_text(json.dumps({"steps": [{"registry_name": "a", "state_file": "../../secret.safetensors"}]}))
    with pytest.raises(UserError, match="which is not in its folder"):
        read_processor(tmp_path, path.name)


def test_processors_run_only_lerobots_code(tmp_path):
    write_stated(tmp_path)
    path = tmp_path / "policy_preprocessor.json"
    path.write_text(
        json.dumps({"steps": [{"class": "lerobot.processor.RenameStep"}, {"class": "os.system"}]})
    )
    with pytest.raises(UserError, match=r"would run os.system, which is no part of LeRobot"):
        read_processor(tmp_path, path.name)
    path.unlink()
    with pytest.raises(UserError, match="migrate_policy_normalization"):
        read_config(tmp_path)


def test_which_folders_and_texts_belong_to_the_family(tmp_path):
    for kind, owner in (("act", "LeRobotFamily"), ("never_heard_of", "LeRobotFamily"), ("pi05", "Pi0Family")):
        folder = write_stated(tmp_path / kind, kind=kind)
        assert stated_type(folder) == kind
        assert type(find_family(folder)).__name__ == owner
    assert type(find_claimant("lerobot:anywhere")).__name__ == "LeRobotFamily"
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')  # of transformers
    assert stated_type(tmp_path) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"type act and needs LeRobot's package, which is missing here: .*headless-eval\[lerobot\]"),
        ({"dtype": "bfloat16"}, "keep the types that they were saved in"),
        ({"engine": "eager"}, "leave out --tokenizer, --engine"),
    ],
)
def test_what_cannot_be_loaded_here(options, message, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lerobot", None)
    with pytest.raises(UserError, match=message):
        load_policy(f"lerobot:{write_stated(tmp_path)}", **options)
    with pytest.raises(UserError, match=r"no checkpoint at .*nowhere"):
        load_policy(f"lerobot:{tmp_path / 'nowhere'}")
