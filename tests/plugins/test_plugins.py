"""A package of another author, with entry points alone, is used like what this package brings."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_list_shows_what_the_package_brings(call):
    status, output = call("list", "--json")
    assert status == 0
    there = json.loads(output)
    assert "point-steady" in there["policies"]
    assert "point" in there["robots"]
    assert there["methods"]["pow2"] == "pow2_w4a8[_all]"
    status, output = call("list")
    assert "of the package headless-eval-example 0.1" in output
