"""bench goes on where a case cannot be measured."""

import torch
from performance_cases import rows

from headless_eval.cli.main import main


def test_what_memory_does_not_do_for_is_a_row_and_the_rest_goes_on(random_flags, tmp_path, monkeypatch):
    from headless_eval.performance import measured_model

    draw = measured_model.random_inputs

    def full(config, workload, *rest):
        if workload.batch == 7:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if workload.batch == 5:
            raise RuntimeError("an illegal access")
        return draw(config, workload, *rest)

    monkeypatch.setattr(measured_model, "random_inputs", full)
    flags = ["--dtypes", "float32", "--engines", "eager", "--repeats", "2", "--batch", "7", "5", "2"]
    assert main(["bench", *random_flags, *flags, "--results", str(tmp_path / "b")]) == 1
    seven, five, two = rows(tmp_path / "b" / "bench.csv")
    assert seven["status"] == "out of memory"
    assert five["status"].startswith("failed: RuntimeError: an illegal access")
    assert two["status"] == "ok"
