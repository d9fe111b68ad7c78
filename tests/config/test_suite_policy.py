"""Which policy a command takes for a suite where none is named."""

from pathlib import Path

import pytest

from headless_eval.config.calibrate import CalibrateConfig
from headless_eval.config.performance import SensitivityConfig
from headless_eval.config.run import RunConfig
from headless_eval.config.stored import run_settings, to_table
from headless_eval.policies.registry import DEFAULT


@pytest.mark.parametrize("command", [RunConfig, CalibrateConfig, SensitivityConfig])
def test_a_suite_that_a_bundled_policy_was_trained_on_whole_has_it(command):
    assert command().policy == "pi0-droid-tiny"
    assert command(suite="droid_precise").policy == "pi0-precise-tiny"
    assert command(suite="libero_object").policy == DEFAULT  # of this suite one task was trained on


def test_a_policy_or_a_checkpoint_that_is_given_is_what_runs():
    assert RunConfig(suite="droid_precise", policy=DEFAULT).policy == DEFAULT
    assert RunConfig(suite="droid_precise", policy="zero").policy == "zero"
    assert RunConfig(suite="droid_precise", checkpoint=Path("mine")).policy == DEFAULT


def test_a_run_keeps_it_for_resuming():
    table = to_table(RunConfig(suite="droid_precise"))
    assert table["policy"] == "pi0-precise-tiny"
    assert run_settings(table | {"policy": DEFAULT}).policy == DEFAULT
