from dataclasses import replace

import pytest

from headless_eval.errors import UserError
from headless_eval.policies.pi0.config import (
    CONFIGS,
    PI0,
    PI0_TINY,
    config_from_meta,
    read_config,
    write_config,
)


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_survive_their_file(name, tmp_path):
    config = CONFIGS[name]
    assert config.name == name
    write_config(tmp_path / "config.toml", config)
    assert read_config(tmp_path / "config.toml") == config


def test_known_configurations():
    polaris = CONFIGS["pi05_droid_jointpos_polaris"]
    assert (polaris.model.action_horizon, polaris.open_loop_horizon, polaris.model.max_token_len) == (
        15,
        8,
        200,
    )
    assert polaris.use_quantile_norm
    assert polaris.delta_actions_mask == (True,) * 7 + (False,)
    assert CONFIGS["pi0_droid_jointpos_polaris"].model.max_token_len == 100
    assert CONFIGS["pi0_libero"].model.action_horizon == 50
    assert CONFIGS["pi0_libero"].delta_actions_mask == (True,) * 6 + (False,)
    assert CONFIGS["pi05_libero"].delta_actions_mask is None
    assert CONFIGS["pi05_libero"].open_loop_horizon == 5
    assert CONFIGS["pi0_droid"].delta_actions_mask is None
    assert CONFIGS["pi0-droid-tiny"].views == ("base_0_rgb", "left_wrist_0_rgb")


def _write(path, change):
    write_config(path, CONFIGS["pi0-droid-tiny"])
    text = path.read_text()
    changed = change(text)
    assert changed != text
    path.write_text(changed)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("name =", "nme ="), "unknown key 'nme'"),
        (lambda text: text.replace("asset_id", "# asset_id"), "'asset_id' is missing"),
        (lambda text: text.replace('asset_id = "droid"', 'asset_id = "/any/place"'), "asset_id is the name"),
        (lambda text: text.replace('asset_id = "droid"', 'asset_id = "../.."'), "asset_id is the name"),
        (lambda text: text.replace("depth = 6", "depth = 0", 1), "'model.gemma.depth' is 0"),
        (lambda text: text.replace("depth = 6", "depth = true", 1), "'model.gemma.depth' is True"),
        (lambda text: text.replace("depth = 6", "depth = 5", 1), "differ in"),
        (lambda text: text.replace("pi05 = false", "pi05 = 0"), "true or false"),
        (lambda text: text.replace('"droid"', '"drone"', 1), "drone"),
        (lambda text: text.replace("[true,", "[1,"), "a list of bool"),
        (lambda text: text.replace("action_dims = 8", "action_dims = 9"), "action_dims 9"),
        (
            lambda text: text.replace("open_loop_horizon = 8", "open_loop_horizon = 80"),
            "open_loop_horizon 80",
        ),
        (lambda text: text.replace("image_size = 96", "image_size = 97"), "multiple"),
        (lambda text: text.replace('"base_0_rgb"', '"base_rgb"'), "views are among base_0_rgb, "),
        (lambda text: text.replace('"base_0_rgb"', '"left_wrist_0_rgb"'), "each once"),
        (lambda text: text + "}", "cannot read"),
    ],
)
def test_broken_files_name_the_key(change, message, tmp_path):
    path = _write(tmp_path / "config.toml", change)
    with pytest.raises(UserError) as caught:
        read_config(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_statistics_may_lie_below_an_owners_name(tmp_path):
    """As openpi's of LIBERO do."""
    write_config(
        tmp_path / "a.toml", replace(CONFIGS["pi0-droid-tiny"], asset_id="physical-intelligence/libero")
    )
    assert read_config(tmp_path / "a.toml").asset_id == "physical-intelligence/libero"


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="no configuration at"):
        read_config(tmp_path / "config.toml")


def test_meta_tables(golden, tmp_path):
    config = golden.config
    assert read_config(golden.folder / "meta.json") == replace(config, name="meta")
    for key in ("kind", "gemma", "action_horizon"):
        with pytest.raises(UserError, match=key):
            config_from_meta({k: v for k, v in golden.meta.items() if k != key})
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match="no table"):
        read_config(tmp_path / "list.json")


def test_sizes_have_to_fit_together():
    with pytest.raises(ValueError, match="share attention"):
        replace(PI0, gemma=PI0_TINY.gemma)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("depth = 6", "depth = 100_000_000", "'depth' is 100000000"),
        ("depth = 6", "depth = 513", "1 to 512"),
        ("vocab_size = 512", "vocab_size = 4_611_686_018_427_387_904", "'vocab_size' is 4611686018427387904"),
        ("action_horizon = 10", "action_horizon = 1_000_000", "'action_horizon' is 1000000"),
        ("width = 192", "width = 10_000_000", "'width' is 10000000"),
        ("depth = 6", 'depth = "6"', "'model.gemma.depth' is '6'"),
    ],
)
def test_sizes_are_bounded_before_anything_is_built(old, new, word, tmp_path):
    path = tmp_path / "config.toml"
    write_config(path, CONFIGS["pi0-droid-tiny"])
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError) as error:
        read_config(path)
    assert word in str(error.value)
