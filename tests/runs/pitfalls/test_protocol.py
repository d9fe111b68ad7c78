"""Pitfalls of the protocol, each with a broken twin."""

import numpy as np
import pytest
from pitfall_cases import Arm, Shown, evidence, findings

from headless_eval.policies.checks import OK, UNKNOWN, WARNING
from headless_eval.runs.pitfalls import protocol


@pytest.mark.parametrize("executed", [1, 10])
def test_another_number_of_executed_actions_is_found(executed):
    found = findings(horizon=executed)["horizon"]
    assert found.status == WARNING
    assert f"{executed} of 10" in found.text
    assert "--open-loop-horizon 8" in found.change


class Still:
    stateless, open_loop_horizon = True, 4

    def infer(self, obs):
        return {"actions": np.zeros((4, 7))}


@pytest.mark.parametrize(("rule", "status"), [("final", OK), ("any", WARNING)])
def test_success_counted_at_any_time_where_numbers_count_the_end_is_found(rule, status):
    shown = Shown({"observation/state": np.zeros(8, np.float32), "prompt": "put carrot on plate"})
    shown.describe = lambda: {"success": rule}
    assert protocol.success(evidence(Still(), shown, suite="simpler_bridge")).status == status


def test_success_counted_at_the_end_where_numbers_count_any_time_is_found():
    assert findings(simulator=Arm(success="final"))["success"].status == WARNING
    assert findings(simulator=Arm(success="is_success"))["success"].status == OK


@pytest.mark.parametrize(
    "prompt", ["put_the_cube_in_the_bowl", "Put the cube in the bowl.", " put the cube\nin the bowl"]
)
def test_an_instruction_in_another_form_is_found(prompt):
    found = findings(simulator=Arm(prompt))["prompt"]
    assert found.status == WARNING
    assert found.change == "write 'put the cube in the bowl'"


def test_no_instruction_cannot_be_told():
    assert findings(simulator=Arm(""))["prompt"].status == UNKNOWN


def test_names_within_an_instruction_keep_their_capitals():
    assert (
        protocol.plain("push the T onto the green T", "push the T onto the green T")
        == "push the T onto the green T"
    )
