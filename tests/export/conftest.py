"""A run that several tests export."""

import pytest
from droid_suite import short_tasks

from headless_eval.cli.main import main


@pytest.fixture(scope="session")
def run(tmp_path_factory, droid_policy):
    """Two episodes of a second, at two precisions, with videos; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("runs") / "short"
    flags = ["--policy", droid_policy, "--tasks", "2", "--episodes", "2", "--dtypes", "float32", "boolean"]
    with pytest.MonkeyPatch.context() as patch:
        short_tasks(patch)
        assert main(["run", *flags, "--results", str(folder), "--quiet"]) == 0
    return folder
