"""Runs open no network connection."""

from pathlib import Path

import pytest
from process_cases import python, unshare

from headless_eval.results import RunDirectory

OFFLINE = """
import sys

def hook(event, arguments):
    if event.startswith("socket."):
        raise RuntimeError(f"{event} {arguments}")

sys.addaudithook(hook)
from headless_eval.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
MAIN_JOB = ["run", "--tasks", "1", "--episodes", "1", "--dtypes", "int8", "--videos", "all", "--quiet"]


def test_no_module_opens_a_socket(droid_policy, tmp_path):
    done = python(OFFLINE, *MAIN_JOB, "--policy", droid_policy, "--results", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert len(RunDirectory.open(tmp_path / "run").records()) == 1
    # The hook does see sockets.
    done = python(OFFLINE.replace("from headless_eval", "import socket; socket.socket()\nfrom headless_eval"))
    assert "socket.__new__" in done.stderr


@pytest.mark.skipif(not unshare("-rn"), reason="a network namespace of one's own is not permitted here")
def test_the_main_job_runs_without_any_network(droid_policy, tmp_path):
    script = "import os, sys; from headless_eval.cli.main import main\n"
    script += "assert open('/proc/net/route').read().count('\\n') <= 1, 'there is a route'\n"
    script += "sys.exit(main(sys.argv[1:]))"
    arguments = [*MAIN_JOB, "--policy", droid_policy, "--results", tmp_path / "run"]
    done = python(script, *arguments, prefix=("unshare", "-rn"))
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "run").rglob("*.mp4"))
    assert Path(tmp_path / "run" / "report.html").is_file()
