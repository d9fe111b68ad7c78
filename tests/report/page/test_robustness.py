"""The page's section on a sweep."""

from record_cases import TASKS, manifest, record

from headless_eval.report.page.robustness import robustness_section
from headless_eval.report.robustness import robustness
from headless_eval.sims.perturbation import perturbed

SWEPT = [TASKS[1], perturbed(TASKS[1], (("light", 2),)), perturbed(TASKS[1], (("noise", 5),))]


def section():
    made = [
        record(configuration=name, task_id=task.id, episode=episode)
        if name == "float32" or task is not SWEPT[1]
        else record(configuration=name, task_id=task.id, episode=episode, status="failure", success=False)
        for name in ("float32", "int4_both")
        for task in SWEPT
        for episode in range(9)
    ]
    return str(robustness_section(robustness(manifest(tasks=SWEPT), made, "float32")))


def test_a_figure_for_each_axis_with_a_mark_where_the_interaction_is_shown():
    html = section()
    assert html.count("<figure") == 2
    assert "int4_both</b> fails where float32 does not: light 2 (9 of 9 episodes lost, 0 gained" in html
    light, noise = html.split("<figure")[1:]
    assert "0 ▼" in light
    assert "▼" not in noise.partition("</figure>")[0]
    assert "against float32 9 lost, 0 gained" in light


def test_a_run_without_a_sweep_has_no_section():
    assert str(robustness_section(None)) == ""
