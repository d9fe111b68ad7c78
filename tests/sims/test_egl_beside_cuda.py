"""The trial of drawing beside CUDA, with children that abort, hang, fail and do well."""

import sys
from time import monotonic, sleep

import pytest
from process_cases import python

from headless_eval.sims import egl_beside_cuda


def child(code):
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("code", "well", "told"),
    [
        ("import os; os.abort()", False, "aborts (SIGABRT)"),
        ("import os; os.kill(os.getpid(), 11)", False, "aborts (SIGSEGV)"),
        ("raise SystemExit('no EGL device')", False, "fails (exit status 1: no EGL device)"),
        (
            "import sys; print('out of memory', file=sys.stderr); sys.exit(3)",
            None,
            "was not tried: out of memory",
        ),
        ("print('all is well')", False, "fails (exit status 0"),
        (
            "print('warm-up'); print('drew 9 pictures in 1.0 s by a GPU')",
            True,
            "drew 9 pictures in 1.0 s by a GPU",
        ),
    ],
)
def test_how_a_child_ends_is_told(code, well, told):
    outcome = egl_beside_cuda.try_it(command=child(code))
    assert outcome.well is well
    assert told in outcome.text


def test_a_child_that_hangs_is_ended_with_its_own_children(tmp_path):
    note = tmp_path / "grandchild"
    code = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen(['sh', '-c', 'sleep 1; touch {note}'])\n"
        "time.sleep(60)\n"
    )
    began = monotonic()
    outcome = egl_beside_cuda.try_it(seconds=0.5, command=child(code))
    assert not outcome.well
    assert "hangs: it did not end within 0.5 s" in outcome.text
    sleep(began + 1.3 - monotonic())
    assert not note.exists()


@pytest.mark.slow
def test_the_program_draws_while_torch_computes_here_on_the_cpu():
    outcome = egl_beside_cuda.try_it("cpu")
    assert outcome.well, outcome.text
    assert "products on cpu" in outcome.text


def test_the_program_says_why_it_cannot_compute():
    done = python(
        "from headless_eval.sims.draw_beside_cuda import main; raise SystemExit(main(['--device', 'no']))"
    )
    assert done.returncode == egl_beside_cuda.NOT_TRIED
    assert "device" in done.stderr
