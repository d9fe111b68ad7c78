"""The episodes as the page's script reads them."""

import json
from collections.abc import Callable
from dataclasses import replace

from headless_eval.contracts.simulator import Task
from headless_eval.report.page.episodes import MAX_TRACEBACK, embed
from headless_eval.results import EpisodeRecord


def test_the_data_are_the_records(records: list[EpisodeRecord]) -> None:
    records[3] = replace(records[3], video=None)
    records[4] = replace(records[4], video="elsewhere/a b.mp4")
    records[5] = replace(records[5], video="../../secret.mp4")
    data = json.loads(embed(records))
    rows = []
    for block in data["blocks"]:
        errors, paths = iter(block["error"]), iter(block["paths"])
        for place, status in enumerate(block["status"]):
            error = data["errors"][next(errors)] if status == "e" else None
            video = {"+": "usual", "-": None, "?": None}[block["video"][place]]
            rows.append(
                (
                    data["configurations"][block["c"]],
                    data["tasks"][block["t"]][0],
                    block["episode"][place],
                    status,
                    block["steps"][place],
                    block["replans"][place],
                    block["tenths"][place] / 10,
                    next(paths) if block["video"][place] == "?" else video,
                    error and error[1],
                )
            )
    assert rows == [
        (
            one.configuration,
            one.task_key,
            one.episode,
            one.status[0],
            one.steps,
            one.replans,
            one.total_s,
            {3: None, 4: "elsewhere/a b.mp4", 5: None}.get(index, "usual"),
            one.error and one.error["message"],
        )
        for index, one in enumerate(records)
    ]
    assert data["baseline"] == 0
    assert len(data["errors"]) == 1, "equal errors are kept once"


def test_many_long_errors_do_not_make_the_page_grow(
    record_maker: Callable[..., EpisodeRecord], records: list[EpisodeRecord]
) -> None:
    task = Task(1, "scene_1", "cube in bowl", "put the cube in the bowl", 450)
    broken = record_maker("float32", task, 0, "e")
    many = [
        replace(broken, episode=index, error={"type": "E", "message": "", "traceback": f"{index} " * 10_000})
        for index in range(1000)
    ]
    text = embed(many)
    assert len(text) < 5_000_000
    data = json.loads(text)
    assert all(len(traceback) <= MAX_TRACEBACK + 10 for _, _, traceback in data["errors"])
    (block,) = data["blocks"]
    assert block["error"][0] == 0
    assert block["error"][-1] == -1, "those that find no room are marked"


def test_the_data_are_compact(record_maker: Callable[..., EpisodeRecord]) -> None:
    task = Task(1, "scene_1", "cube in bowl", "put the cube in the bowl", 450)
    text = embed([record_maker("float32", task, episode, "sf"[episode % 2]) for episode in range(10_000)])
    assert len(text) < 20 * 10_000
