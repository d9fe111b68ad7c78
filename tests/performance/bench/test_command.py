"""bench, whole on small models: its figures, its files, and what is kept of them."""

import json

import pytest
from performance_cases import rows

from headless_eval.cli.main import main


def test_bench_measures_every_combination_and_adds_to_its_table(random_flags, tmp_path, capsys):
    folder = tmp_path / "bench"
    flags = ["bench", *random_flags, "--results", str(folder), "--repeats", "3", "--engines", "eager"]
    dtypes = ["--dtypes", "float32", "bfloat16", "float8_e4m3", "--modes", "weights_only", "both"]
    assert main([*flags, *dtypes, "--batch", "1", "2", "--views", "1"]) == 0
    found = rows(folder / "bench.csv")
    assert len(found) == 5 * 2
    assert {row["status"] for row in found} == {"ok"}
    for row in found:
        assert float(row["p5_ms"]) <= float(row["median_ms"]) <= float(row["p95_ms"])
        assert float(row["chunks_per_s"]) == pytest.approx(
            1e3 * int(row["batch"]) / float(row["median_ms"]), rel=1e-4
        )
        assert float(row["limit_ms"]) < float(row["median_ms"])
        assert int(row["weights_bytes"]) > 0
        assert int(row["peak_bytes"]) > 0
    errors = {(row["precision"], row["batch"]): float(row["error"]) for row in found}
    assert errors["float32", "1"] == 0
    assert 0 <= errors["float32", "2"] < 1e-5
    for mode in ("weights_only", "both"):
        assert 1e-5 < errors[f"bfloat16_{mode}", "1"] < errors[f"float8_e4m3_{mode}", "1"]

    more = ["--append", "--dtypes", "int8", "--executions", "native", "--modes", "both"]
    assert main([*flags, *more]) == 0
    again = rows(folder / "bench.csv")
    assert again[: len(found)] == found
    assert [row["median_ms"] for row in again[len(found) :]] == [""]
    assert "native" in again[-1]["status"]
    content = json.loads((folder / "bench.json").read_text("utf-8"))
    assert set(content["chip"]["matrix_flops"]) == {"float32"}
    assert content["chip"]["copy_bytes_per_s"] > 1e8
    assert (folder / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "bench.md").read_text("utf-8").count("\n| ") == 2 + len(again)
    assert str(folder) in capsys.readouterr().out


def test_what_was_measured_is_kept_when_bench_is_interrupted(random_flags, tmp_path, monkeypatch):
    from headless_eval.performance.bench import measure as bench

    repeat = bench.Bench._repeat

    def interrupted(self, ready):
        yield from repeat(self, ready)
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.Bench, "_repeat", interrupted)
    flags = ["--dtypes", "float32", "--engines", "eager", "--repeats", "2", "--results", str(tmp_path / "b")]
    assert main(["bench", *random_flags, *flags]) == 130
    (row,) = rows(tmp_path / "b" / "bench.csv")
    assert row["status"] == "ok"
