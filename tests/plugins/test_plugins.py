"""A package of another author, with entry points alone, is used like what this package brings."""

import json
import signal
import subprocess
import sys
import time

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


@pytest.mark.parametrize("words", [["point-steady", "--suite", "plane"], ["plane"], ["point"], ["pow2"]])
def test_check_plugin_passes_what_the_package_brings(call, words):
    pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install 'headless-eval[gym]'")
    status, output = call("check-plugin", *words)
    assert status == 0, output
    assert "FAILED" not in output


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


def test_a_run_with_random_numbers_is_interrupted_resumed_verified_and_reported(installed, call, tmp_path):
    pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install 'headless-eval[gym]'")
    words = [
        "--suite",
        "plane",
        "--policy",
        "point-steady",
        "--policy-args",
        "jitter=0.1",
        "--episodes",
        "60",
    ]
    words += ["--dtypes", "float32", "pow2_w8a8_all", "--videos", "none", "--results", "run", "--quiet"]
    journal = tmp_path / "run" / "journal.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "headless_eval", "run", *words], cwd=tmp_path, env=installed
    )
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    done = len(journal.read_text().splitlines())
    assert 0 < done < 120
    status, output = call("run", "--resume", "run", "--slots", "2", "--quiet")
    assert status == 0, output
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len({(record["configuration"], record["episode"]) for record in records}) == len(records) == 120
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["policy"]["determinism"] == "checked"
    assert manifest["policy"]["origin"]["distribution"] == "headless-eval-example"
    status, output = call("verify", "run", "--sample", "20")
    assert status == 0, output
    assert "the same: 20 trials, every action to the last bit" in output
    status, output = call("report", "run")
    assert status == 0
    assert "pow2_w8a8_all" in output


def test_policy_and_method_are_benched_and_the_policy_is_checked_against_suites(call, tmp_path):
    words = ["--policy", "point-steady", "--dtypes", "float32", "pow2_w8a8_all", "--repeats", "3"]
    status, output = call("bench", *words, "--results", "bench")
    assert status == 0, output
    rows = {
        row["precision"]: row for row in json.loads((tmp_path / "bench" / "bench.json").read_text())["rows"]
    }
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert 0 < rows["pow2_w8a8_all"]["error"] < 0.1
    assert call("doctor", "--policy", "point-steady", "--suite", "plane")[0] == 0
    status, output = call("run", "--policy", "point-steady", "--dtypes", "float32", "--videos", "none")
    assert status == 2
    assert output.count("DIFFERS") == 5
