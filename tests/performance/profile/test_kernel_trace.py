"""What is read in a trace."""

import json

from headless_eval.performance.profile import kernel_trace


def test_kernels_belong_to_the_range_that_launched_them(tmp_path):
    def event(cat, name, ts, dur, tid, **args):
        return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "tid": tid, "args": args}

    events = [
        event("user_annotation", "outer", 0, 100, 1),
        event("user_annotation", "inner", 10, 20, 1),
        event("user_annotation", "elsewhere", 0, 100, 2),
        event("cuda_runtime", "cudaLaunchKernel", 15, 1, 1, correlation=1),
        event("cuda_runtime", "cudaGraphLaunch", 50, 1, 1, correlation=2),
        event("cuda_runtime", "cudaLaunchKernel", 150, 1, 1, correlation=3),
        event("kernel", "nvjet_tst_128", 200, 30, 7, correlation=1),
        event("kernel", "flash_fwd", 230, 20, 7, correlation=2),
        event("kernel", "_norm", 240, 20, 7, correlation=2),  # begins by waiting for the one before
        event("gpu_memcpy", "Memcpy HtoD", 300, 5, 7, correlation=3),
        {"ph": "M", "name": "process_name"},
    ]
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"traceEvents": events}), "utf-8")
    found = [(work.name, work.within, work.kind, work.ms) for work in kernel_trace.read(path)]
    assert found == [
        ("nvjet_tst_128", "inner", "matrix products", 0.03),
        ("flash_fwd", "outer", "attention", 0.02),
        ("_norm", "outer", "norms", 0.01),
        ("Memcpy HtoD", "", "copies", 0.005),
    ]
