"""The section on the divergence: what is drawn is what was found."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from headless_eval.report.charts import COLOURS
from headless_eval.report.divergence import BINS, Along, Diverged, Divergence, dimensions_of
from headless_eval.report.page.divergence import STRIPS, along_chart, divergence_section, strip_data


def record(task: int, episode: int):
    from record_cases import record as made

    return made(task_id=task, task_key=f"scene_{task}", episode=episode, steps=20)


def variant(name: str, size: float | None, **changes: object) -> Diverged:
    value = np.nan if size is None else size
    along = np.tile(np.array([0.5, 1.0, 2.0]) * value, (BINS, 1))
    along[3] = np.nan  # episodes too short to have a replan there
    fields = {
        "configuration": name,
        "episodes": 2,
        "replans": 6,
        "not_finite": 6 if size is None else 0,
        "rms": size,
        "median": value / 3,
        "largest": 3 * value,
        "by_dimension": value * np.array([1, 1, 1, 2, 1, 1, 1, 4.0]),
        "along": along,
        "by_phase": {} if size is None else {"approach": size, "grasp": 2 * size},
        "success": (0.5, 1.0),
        "path_ratio": 1.25,
    }
    return Diverged(**fields | changes)


def along(name: str, task: int, episode: int, size: float) -> Along:
    rms = size * np.ones((3, 8)) * np.array([[1], [10], [100]])
    return Along(
        name,
        record(task, episode),
        rms,
        rms,
        np.array([8, 8, 4]),
        ("approach", "grasp", "grasp"),
    )


def made(sizes: dict[str, float | None], episodes: int = 1) -> Divergence:
    paths = [
        along(name, task, episode, size or np.nan)
        for name, size in sizes.items()
        for task in (1, 2)
        for episode in range(episodes)
    ]
    variants = tuple(variant(name, size) for name, size in sizes.items())
    return Divergence("float32", dimensions_of("droid", 8), variants, tuple(paths))


def tree(found: Divergence) -> ElementTree.Element:
    return ElementTree.fromstring(str(divergence_section(found)))


def test_without_answers_there_is_no_section() -> None:
    assert divergence_section(None) == ""


def test_the_sentence_leads_and_the_table_has_each_variant() -> None:
    section = tree(made({"int8_both": 0.002, "int4_both": 0.039}))
    texts = ["".join(one.itertext()) for one in section]
    assert (
        texts[1]
        == "On float32's own path int4_both departs most (0.039 rad, largest in joint 4 and while grasping), "
        "int8_both least (0.002 rad)."
    )
    (table,) = section.findall(".//table[@class='numbers stacked']")
    rows = [[cell.text for cell in row] for row in table.find("tbody")]
    assert rows[1] == [
        "int4_both",
        "0.039",
        "0.013",
        "0.12",
        "joint_4",
        "while grasping",
        "50 % vs 100 %",
        "× 1.25",
    ]


def test_the_lines_are_at_the_medians_on_a_log_scale() -> None:
    drawing = ElementTree.fromstring(str(along_chart(made({"int8_both": 0.002, "int4_both": 0.02}))))[2]
    circles = {
        kind: [float(one.get("cy")) for one in drawing.iter("circle") if one.get("class") == kind]
        for kind in ("c0", "c1")
    }
    assert len(circles["c0"]) == BINS - 1
    ticks = {one.text: float(one.get("y")) for one in drawing.iter("text") if re.match(r"[\d.]+$", one.text)}
    assert list(ticks) == ["0.001", "0.01", "0.1"]
    decade = ticks["0.001"] - ticks["0.01"]
    assert circles["c0"][0] - circles["c1"][0] == pytest.approx(decade, abs=0.02)
    bands = [one for one in drawing.iter("rect") if one.get("class") == "c0"]
    assert float(bands[0].get("height")) == pytest.approx(decade * np.log10(4), abs=0.02)


def test_strips_grow_darker_with_the_error() -> None:
    section = tree(made({"int8_both": 0.001}))
    boxes = section.findall(".//svg[@class='strip']/rect")
    opacities = [float(one.get("fill-opacity")) for one in boxes]
    assert opacities == pytest.approx([0.04, 0.52, 1.0] * 2, abs=0.03)
    assert boxes[1].find("title").text == "int8_both, replan 1, grasp: 0.01"
    assert [one.get("width") for one in boxes[:3]] == ["33.33%"] * 3


def test_only_so_many_strips_and_colours_are_drawn_and_the_rest_is_counted() -> None:
    sizes = {f"variant_{number}": 0.01 for number in range(COLOURS + 3)}
    section = tree(made(sizes, episodes=5))
    assert len(section.findall(".//div[@class='strips']")) == STRIPS
    text = " ".join("".join(section.itertext()).split())
    assert "In the tables alone: variant_8, variant_9, variant_10." in text
    assert "4 further episodes in divergence.csv." in text


def test_a_variant_without_a_number_is_shown_as_such() -> None:
    section = tree(made({"int8_both": 0.002, "boolean_both": None}))
    (table,) = section.findall(".//table[@class='numbers stacked']")
    rows = [[cell.text for cell in row] for row in table.find("tbody")]
    assert rows[1][:4] == ["boolean_both", "–", "–", "–"]
    assert rows[1][-1] == "6 of 6"
    assert len(section.findall(".//rect[@class='broken']")) == 6
    assert not tree(made({"boolean_both": None})).findall(".//figure[@class='charts']")


def test_names_are_escaped() -> None:
    assert "<script>" not in divergence_section(made({"<script>": 0.1}))


def test_the_table_of_episodes_gets_a_character_per_replan_and_dimension() -> None:
    data = strip_data(made({"int8_both": 0.001, "boolean_both": None}))
    assert data is not None
    assert data["dims"][-1] == "gripper"
    assert data["paths"]["int8_both"]["scene_2"] == {0: ["0iz"] * 8}
    assert data["paths"]["boolean_both"]["scene_1"] == {0: ["---"] * 8}
    assert strip_data(None) is None
