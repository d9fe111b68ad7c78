"""Conformance of quantization methods: ours pass, and broken functions are caught."""

import pytest

from headless_eval.policies.checks import FAILED
from headless_eval.runs.conformance.method import examine_method

BROKEN = """
import torch

def nothing(model):
    pass

def forgets(model):
    for parameter in model.parameters():
        parameter.data.zero_()

def draws(model):
    for parameter in model.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)

def sound(model):
    for parameter in model.parameters():
        parameter.data = (parameter.data * 16).round() / 16
"""


def examined(name):
    return {one.name: one.status for one in examine_method(name)}


@pytest.mark.parametrize("name", ["int8_both", "rtn_w4a8", "smoothquant_w8a8", "duquant_w4a8"])
def test_our_methods_pass(name):
    assert FAILED not in examined(name).values()


def test_functions_of_users_are_told_apart(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(BROKEN)
    assert FAILED not in examined(f"{file}:sound").values()
    assert examined(f"{file}:nothing")["outputs"] == FAILED
    assert examined(f"{file}:forgets")["outputs"] == FAILED
    assert examined(f"{file}:draws")["determinism"] == FAILED
