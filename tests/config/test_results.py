from pathlib import Path

import pytest

from headless_eval.config.results import ExportConfig, GateConfig, ReportConfig, VerifyConfig
from headless_eval.errors import UserError

RUN = Path("run")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ReportConfig(runs=("run",), detect=0.0), "--detect is 0"),
        (lambda: GateConfig(runs=("run",), max_drop=1.0), "--max-drop is 1"),
        (lambda: VerifyConfig(), "verify takes the folder of a run"),
        (lambda: VerifyConfig(directories=(RUN, RUN), all=True), "nothing is run"),
        (lambda: VerifyConfig(directories=(RUN,), all=True, sample=3), "choose one"),
        (lambda: ExportConfig(directories=(RUN,), configuration=("float32",)), "--configuration goes with"),
        (lambda: ExportConfig(directories=(RUN, RUN), lerobot=Path("out")), "the folder of one run"),
        (lambda: ExportConfig(directories=(RUN,), lerobot=Path("out"), format="csv"), "no table"),
        (lambda: ExportConfig(directories=(RUN,), lerobot=Path("out"), rerun=Path("out")), "choose one"),
        (lambda: ExportConfig(directories=(RUN,), rerun=Path("out"), configuration=("a", "b")), "name one"),
        (lambda: ExportConfig(directories=(RUN,), episode="1:0"), "--episode goes with --rerun"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()
