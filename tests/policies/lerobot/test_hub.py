"""What a LeRobot folder names besides itself."""

import json

import pytest
from lerobot_policies import write_stated

from headless_eval.errors import UserError
from headless_eval.policies.lerobot.config import read_config
from headless_eval.policies.lerobot.hub import missing_repositories, refuse_code


def config_of(folder, **change):
    return read_config(write_stated(folder, **change), robot="droid")


def write_code(folder):
    """Write a tokenizer's folder that brings a class of its own."""
    folder.mkdir(parents=True)
    auto_map = {"AutoTokenizer": ["mine.Mine", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": auto_map}))


def test_code_in_a_folder_that_is_named_is_not_run(tmp_path):
    write_code(tmp_path / "tokens")
    config = config_of(tmp_path / "policy", text_tokenizer_name=str(tmp_path / "tokens"))
    with pytest.raises(UserError, match=r"policy names .*tokens, whose own code would run"):
        refuse_code(config)


def test_of_the_hub_only_the_action_tokenizer_s_code_may_run(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("lerobot--fast-action-tokenizer", "someone--tokens"):
        write_code(tmp_path / "hub" / f"models--{name}" / "snapshots" / "1")
    refuse_code(config_of(tmp_path / "fast", action_tokenizer_name="lerobot/fast-action-tokenizer"))
    with pytest.raises(UserError, match="someone/tokens"):
        refuse_code(config_of(tmp_path / "other", steps=[{"of": {"base": "someone/tokens"}}]))


def test_hub_ids_that_are_not_cached_are_named_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "hub" / "models--a--here").mkdir(parents=True)
    names = {
        "text_tokenizer_name": "a/b",
        "vlm_model_name": "a/here",
        "inner": {"tokenizer": "a/b"},
        "note": "c/d",
    }
    assert missing_repositories(config_of(tmp_path / "policy", **names)) == ["a/b"]
