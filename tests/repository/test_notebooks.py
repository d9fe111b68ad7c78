"""The notebooks of the documentation run, from a small run that they make themselves."""

import json

import pandas
import pytest
from paths import ROOT

NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))


def code_cells(notebook):
    return [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_it_was_run_from_top_to_bottom(notebook):
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output["output_type"] in ("error", "stream")]


def test_from_a_run_to_a_figure(short_episodes, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in code_cells(ROOT / "docs" / "notebooks" / "run_to_figure.ipynb"):
        exec("".join(cell["source"]), names)
        if "parameters" in cell["metadata"].get("tags", ()):  # a run of seconds
            names["SETTINGS"] |= {"tasks": ["1"], "episodes": 1, "variants": ["float32", "int8_both"]}
    names["plt"].close("all")
    folder = tmp_path / "results" / "figure"
    assert (folder / "figure.pdf").read_bytes().startswith(b"%PDF")
    assert pandas.read_csv(folder / "table.csv").configuration.tolist() == ["float32", "int8_both"]
