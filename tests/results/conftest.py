"""A run that is open for writing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from record_cases import manifest

from headless_eval.results import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with RunDirectory.create(tmp_path / "run", manifest()) as run:
        yield run
