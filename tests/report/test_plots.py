"""The charts as pictures."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from headless_eval.contracts.simulator import Task
from headless_eval.report import Summary, build
from headless_eval.report.charts import charts
from headless_eval.report.page.drawings import bar_chart
from headless_eval.report.plots import _painted
from headless_eval.results import EpisodeRecord

PLOTS = [f"success_rate_{name}.png" for name in ("activations_only", "both", "overall", "weights_only")]


@pytest.fixture
def pictures(run_folder: Path) -> dict[str, np.ndarray]:
    build(run_folder)
    return {name: np.asarray(Image.open(run_folder / name).convert("RGB")) for name in PLOTS}


def test_the_picture_of_a_mode_that_did_not_run_has_the_baseline_and_says_so(
    pictures: dict[str, np.ndarray], summary: Summary
) -> None:
    found = charts(summary)
    assert found["activations_only"].labels == ["float32"]
    (sentence,) = {chart.missing for chart in found.values()} - {""}
    assert sentence == "Activations only: no precision ran in this mode."
    assert found["activations_only"].note.startswith(sentence)
    blue = (0, 0x72, 0xB2)
    for name, picture in pictures.items():
        assert (picture == blue).all(axis=2).any() or name == "success_rate_overall.png"
        assert (picture < 128).any(), "there is ink"


def test_bars_have_the_rates_lengths(pictures: dict[str, np.ndarray]) -> None:
    picture = pictures["success_rate_weights_only.png"]

    def lengths(colour: tuple[int, int, int]) -> list[int]:
        """Return how long the bars of a colour are, from top to bottom, in pixels."""
        found = (picture == colour).all(axis=2)
        found[: round(0.2 * len(found))] = False  # the legend
        rows = np.flatnonzero(found.any(axis=1))
        # An interval's line may split a bar; the gap between two bars of a colour is wider.
        bars = np.split(rows, np.flatnonzero(np.diff(rows) > 15) + 1)
        return [int(np.ptp(np.flatnonzero(found[bar].any(axis=0)))) for bar in bars]

    first, second = lengths((0, 0x72, 0xB2)), lengths((0xE6, 0x9F, 0))
    # Scene 1: float32 80 %, float8 60 %, boolean 0 % (a foot left of the axis).
    assert len(first) == 3
    assert first[0] / first[1] == pytest.approx(0.8 / 0.6, rel=0.02)
    assert first[2] < 0.03 * first[0]
    # Scene 2: float32 100 %, float8 40 %, boolean only errors: no bar.
    assert len(second) == 2
    assert second[0] / second[1] == pytest.approx(1 / 0.4, rel=0.02)
    assert second[0] / first[0] == pytest.approx(1 / 0.8, rel=0.02)


def test_many_tasks_are_drawn_together(
    tmp_path: Path, run_maker: Callable[..., Path], record_maker: Callable[..., EpisodeRecord]
) -> None:
    tasks = [Task(index, f"task_{index}", f"task {index}", "do it", 450) for index in range(12)]
    names = ["float32", "int8_weights_only"]
    records = [
        record_maker(name, task, episode, "sf"[(task.id + episode) % 2])
        for name in names
        for task in tasks
        for episode in range(2)
    ]
    folder = run_maker(tmp_path / "run", records, names, tasks)
    build(folder)
    picture = np.asarray(Image.open(folder / "success_rate_weights_only.png").convert("RGB"))
    assert (picture == (0, 0x72, 0xB2)).all(axis=2).any()
    assert not (picture == (0xE6, 0x9F, 0)).all(axis=2).any()


def test_pyplot_stays_unloaded(run_folder: Path) -> None:
    code = (
        "import sys; from headless_eval.report import build\n"
        "assert 'matplotlib' not in sys.modules and 'scipy' not in sys.modules\n"
        "build(sys.argv[1])\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, run_folder], check=True)


def test_a_picture_shows_what_the_page_draws(summary: Summary) -> None:
    for chart in charts(summary).values():
        if isinstance(chart, str):
            continue
        painted = {text.get_text() for text in _painted("droid", bar_chart(chart)).axes[0].texts}
        drawn = ElementTree.fromstring(bar_chart(chart))
        for text in (*drawn.iter("text"), *drawn.iter("li")):
            assert "".join(text.itertext()) in painted
