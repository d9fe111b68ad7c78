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
    assert there["suites"]["plane"]["simulators"] == ["gymnasium"]
    assert there["methods"]["pow2"] == "pow2_w4a8[_all]"
    status, output = call("list")
    assert "of the package headless-eval-example 0.1" in output


def test_the_suite_runs_with_the_packages_policy_and_method_and_is_resumed_and_verified(call, tmp_path):
    pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install 'headless-eval[gym]'")
    words = ["--suite", "plane", "--policy", "point-steady", "--dtypes", "float32", "pow2_w8a8"]
    status, output = call(
        "run", *words, "--episodes", "4", "--videos", "failures", "--results", "run", "--quiet"
    )
    assert status == 0, output
    journal = tmp_path / "run" / "journal.jsonl"
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [record["status"] for record in records].count("success") >= 6
    assert all(record["metrics"]["distance"] < 0.05 for record in records if record["success"])
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["simulator"]["origin"] == {
        "place": "headless_eval_example.suite:PLANE",
        "distribution": "headless-eval-example",
        "version": "0.1",
    }

    journal.write_text(
        "".join(journal.read_text().splitlines(keepends=True)[:3])
    )  # as if it had been interrupted
    status, output = call("run", "--resume", "run", "--slots", "1", "--quiet")
    assert status == 0, output
    again = [json.loads(line) for line in journal.read_text().splitlines()]
    assert {record["actions_sha256"] for record in again} == {record["actions_sha256"] for record in records}
    assert call("verify", "run", "--all")[0] == 0
    assert call("report", "run")[0] == 0
