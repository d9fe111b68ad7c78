"""What a run may be, and what is refused."""

from dataclasses import replace

import pytest

from headless_eval.config.run import RunConfig
from headless_eval.errors import UserError
from headless_eval.sims.droid.suites import DroidSettings
from headless_eval.sims.libero.suites import LiberoSettings


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"episodes": 0}, "--episodes is 0; it must be 1 or more"),
        ({"episodes": 100_001}, "--episodes is 100001; it must be 100000 or less"),
        ({"gpu": -1}, "--gpu is -1; it must be 0 or more"),
        ({"video_fps": float("inf")}, "--video-fps is inf; it must be above 0"),
        ({"episode_timeout": 0.0}, "--episode-timeout is 0; it must be above 0"),
        ({"videos": "some"}, "--videos is 'some'; it must be all, failures or none"),
        ({"tasks": ("1,2",)}, "--tasks 1,2: separate them by spaces"),
        ({"force": True}, "--force goes with --resume only"),
        ({"bits": ("a=w4",)}, "--bits is for methods"),
        ({"sequential": 1.0}, "--sequential is 1; it must be above 0 and below 1"),
        ({"dtypes": ("int8",), "sequential": 0.1}, "compares with float32, which is missing"),
        ({"baseline": "int7"}, "unknown baseline 'int7'"),
        ({"simulator": LiberoSettings()}, "LiberoSettings are no settings of the suite droid"),
        ({"simulator": DroidSettings(sim="bullet")}, "unknown simulator of the suite droid"),
    ],
)
def test_what_cannot_be_is_one_sentence(settings, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        RunConfig(**settings)
    assert "\n" not in str(error.value)


def test_a_suite_brings_its_simulators_settings():
    assert RunConfig().simulator == DroidSettings()
    assert RunConfig(suite="libero_90").simulator == LiberoSettings()
    assert replace(RunConfig(), seed=3).simulator == DroidSettings()


def test_a_policy_without_a_model_runs_at_float32_alone():
    assert RunConfig(policy="zero").dtypes == ("float32",)
    assert len(RunConfig().dtypes) == 4


def test_the_device_is_named_as_torch_does():
    assert (RunConfig().device, RunConfig(gpu=2).device) == ("cpu", "cuda:2")
