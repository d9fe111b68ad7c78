"""Settings come back from a manifest's JSON as they were, and what is damaged is one sentence."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from headless_eval.config.run import RunConfig
from headless_eval.config.stored import free_settings, from_table, run_settings, run_with, to_table
from headless_eval.errors import UserError
from headless_eval.shared.flags import Settings, flag
from headless_eval.sims.droid.suites import DroidSettings
from headless_eval.sims.libero.suites import LiberoSettings


@dataclass(frozen=True, kw_only=True)
class Part(Settings):
    assets: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Example(Settings):
    draft_tokens: int | None = None
    margin: float | None = None
    folder: Path | None = None
    name: str | None = None
    place: Path = Path("/here")
    words: tuple[str, ...] = ()
    numbers: tuple[int, ...] = (1,)
    choice: Literal["a", "b"] = "a"
    rate: float = 5.0
    loud: bool = False
    session: Annotated[int, flag(kept=False)] = 1
    secret: Annotated[int, flag(stated=False)] = 1
    part: Annotated[Any, flag(part=True)] = Part()


def through_json(settings):
    return from_table(type(settings), json.loads(json.dumps(to_table(settings))), {"part": Part})


def test_every_type_of_field_comes_back():
    settings = Example(
        draft_tokens=5,
        margin=0.25,
        folder=Path("/a/b"),
        name="x",
        place=Path("/there"),
        words=("a", "b"),
        numbers=(2, 3),
        choice="b",
        rate=2.0,
        loud=True,
        part=Part(assets=Path("/assets")),
    )
    assert through_json(settings) == settings
    assert through_json(Example()) == Example()


def test_a_whole_number_does_for_a_fraction():
    assert from_table(Example, {"rate": 3, "margin": 1}).margin == 1


def test_paths_are_stated_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert to_table(Example(folder=Path("mine")))["folder"] == str(tmp_path / "mine")


def test_what_a_session_has_for_itself_is_not_taken_up():
    settings = Example(session=2, secret=3)
    assert to_table(settings)["session"] == 2
    assert "secret" not in to_table(settings)
    assert (through_json(settings).session, through_json(settings).secret) == (1, 1)
    assert from_table(Example, {"secret": 4, "unheard_of": 5}) == Example()


@pytest.mark.parametrize(
    "entry",
    [
        {"draft_tokens": "5"},
        {"draft_tokens": 5.5},
        {"draft_tokens": True},
        {"margin": "x"},
        {"folder": 3},
        {"name": 3},
        {"words": "a"},
        {"words": [1]},
        {"numbers": ["a"]},
        {"choice": "c"},
        {"loud": 1},
        {"rate": None},
        {"place": None},
    ],
)
def test_a_value_of_another_type_is_one_sentence(entry):
    (name,) = entry
    with pytest.raises(UserError, match=f"^its setting '{name}' is "):
        from_table(Example, entry)


def test_a_runs_settings_come_back_with_those_of_its_simulator():
    droid = RunConfig(
        gpu=1, flow_steps=4, sequential=0.1, simulator=DroidSettings(sim="isaaclab", isaac_assets=Path("/x"))
    )
    libero = RunConfig(suite="libero_goal", simulator=LiberoSettings(libero_assets=Path("/y")))
    for settings in (droid, libero):
        assert run_settings(json.loads(json.dumps(to_table(settings)))) == settings
    assert "libero_assets" not in to_table(droid)


def test_a_manifest_of_before_names_settings_of_other_simulators():
    """They were fields of every run then, and None."""
    assert run_settings({"suite": "droid", "libero_assets": None, "physics": None}) == RunConfig()


def test_a_run_is_written_with_lists_and_strings():
    settings = run_with({"tasks": ["1"], "results": "mine", "sim": "isaaclab", "physics": "newton"})
    assert settings == RunConfig(
        tasks=("1",), results=Path("mine"), simulator=DroidSettings(sim="isaaclab", physics="newton")
    )
    other = run_with({"suite": "libero_goal", "libero_assets": "/a"}, settings)
    assert (other.tasks, other.simulator) == (("1",), LiberoSettings(libero_assets=Path("/a")))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"episode": 3}, "did you mean episodes"),
        ({"episodes": "three"}, "'episodes' is 'three'"),
        ({"libero_assets": "/a"}, "no setting of --suite droid --sim mujoco, but of --suite libero_"),
        ({"physics": "newton"}, "--physics is no setting of --suite droid --sim mujoco, but of --suite droid"),
        ({"suite": "droit"}, "did you mean droid"),
        ({"slots": 0}, "--slots is 0; it must be 1 or more"),
    ],
)  # fmt: skip
def test_what_a_run_does_not_take_is_refused(values, sentence):
    with pytest.raises(UserError, match=sentence):
        run_with(values)


def test_settings_that_no_result_depends_on_say_so():
    assert free_settings("droid") == {
        *("slots", "videos", "video_fps", "results", "quiet", "log_json", "retries", "episode_timeout"),
        *("track", "divergence"),
        *(
            "resume",
            "force",
            "from_",
            "save_settings",
            "power",
            "dry_run",
            "calibration",
            "packdir",
            "gpu",
            "policy",
            "checkpoint",
            "config",
        ),
        *("config_file", "tokenizer", "robot", "isaac_assets"),
    }
    assert "libero_assets" in free_settings("libero_10")
    assert "slots" in free_settings("a suite of a package that is not here")
