"""A real short run, certified."""

import json
import shutil

import pytest

from headless_eval.cli.main import main


@pytest.fixture(scope="session")
def certified(finished, tmp_path_factory):
    """The certificate of the run ``finished``; to be copied, not changed."""
    path = tmp_path_factory.mktemp("certificates") / "certificate.json"
    assert main(["certify", str(finished), "--out", str(path)]) == 0
    return path


@pytest.fixture
def sent(certified, tmp_path):
    """The certificate as somebody else has it."""
    return shutil.copy(certified, tmp_path / "sent.json")


@pytest.fixture
def forge(sent):
    """Change the fields of the certificate that was sent."""

    def change(*changes, **fields):
        table = json.loads(sent.read_text()) | fields
        for one in changes:
            one(table)
        sent.write_text(json.dumps(table))
        return sent

    return change
