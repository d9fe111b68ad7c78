"""The report page as a file: self-contained, escaped, small. What it does is tested in test_page_in_browser.py."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from headless_eval.contracts.simulator import Task
from headless_eval.report import build, summarize
from headless_eval.report.page.episodes import MAX_TRACEBACK, embed, is_inside
from headless_eval.report.page.markup import Markup, join, tag
from headless_eval.report.verdict import verdicts
from headless_eval.results import EpisodeRecord

HOSTILE = """</script><script>alert("x")</script><img src=x onerror='alert(1)'> & <!-- ${style} $$ ]]>"""


class Page(HTMLParser):
    """What a page's elements are: names with attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))
        if name not in ("meta", "input", "br"):
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name, "elements are closed in order"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text += data


def data_of(page: str) -> dict:
    (text,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def test_it_holds_all_it_needs(run_folder: Path) -> None:
    build(run_folder)
    page = Page((run_folder / "report.html").read_text())
    assert not page.open
    assert {name for name, _ in page.elements} & {"link", "iframe", "img", "object", "base"} == set()
    for name, attributes in page.elements:
        assert "src" not in attributes, "scripts are inline, and videos come when asked for"
        assert not any(key.startswith("on") or key == "style" for key in attributes)
        if name == "a":
            assert str(attributes["href"]).startswith(("./", "#"))
    (policy,) = (one["content"] for _, one in page.elements if one.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in str(policy)


@pytest.mark.parametrize("name", ["float32", "int8_both"])
def test_every_precision_has_a_verdict(run_folder: Path, name: str) -> None:
    summary = build(run_folder)
    text = " ".join(Page((run_folder / "report.html").read_text()).text.split())
    (sentence,) = (one.sentence for one in verdicts(summary) if one.configuration == name)
    assert " ".join(sentence.split()) in text


def test_the_command_is_one_to_type(run_folder: Path) -> None:
    manifest = json.loads((run_folder / "manifest.json").read_text())
    manifest["command"] = ["/somewhere/headless_eval/__main__.py", "run", "--tasks", "scene_1"]
    (run_folder / "manifest.json").write_text(json.dumps(manifest))
    build(run_folder)
    assert "headless-eval run --tasks scene_1" in Page((run_folder / "report.html").read_text()).text


def test_untrusted_text_stays_text(
    tmp_path: Path, run_maker: Callable[..., Path], record_maker: Callable[..., EpisodeRecord]
) -> None:
    task = Task(1, "scene_1", HOSTILE, HOSTILE, 450)
    error = {"type": HOSTILE, "message": HOSTILE, "traceback": HOSTILE}
    records = [
        replace(record_maker("float32", task, 0, "s"), configuration=HOSTILE, video=None),
        replace(record_maker("float32", task, 1, "e"), error=error),
    ]
    folder = run_maker(tmp_path / "run", records, [HOSTILE, "float32"], [task])
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["policy"], manifest["command"] = {"name": HOSTILE}, [HOSTILE]
    manifest["hardware"]["cpu"] = HOSTILE
    (folder / "manifest.json").write_text(json.dumps(manifest))
    build(folder)
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert [one["src"] for _, one in page.elements if "src" in one] == []
    assert sum(name == "script" for name, _ in page.elements) == 2
    assert "alert(" not in page.scripts[-1]
    data = data_of(text)
    assert data["errors"] == [[HOSTILE] * 3]
    assert data["tasks"] == [["scene_1", HOSTILE, HOSTILE]]
    assert page.text.count(HOSTILE) > 5


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


def test_paths_stay_in_the_folder() -> None:
    assert is_inside("videos/float32/scene_1_ep000_success.mp4")
    for path in ("/etc/passwd", "../a.mp4", "videos/../../a.mp4", "", "..\\a.mp4", "//host/a.mp4"):
        assert not is_inside(path)


def test_a_run_that_has_not_got_far(tmp_path: Path, run_maker: Callable[..., Path]) -> None:
    folder = run_maker(tmp_path / "run", [], ["float32"])
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    build(folder)
    page = Page((folder / "report.html").read_text())
    assert "No episode has run." in page.text
    assert "interrupted" in page.text


def test_a_strange_manifest_still_gives_a_page(run_folder: Path) -> None:
    path = run_folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for key in ("policy", "hardware", "command", "seed", "started_at", "settings"):
        del manifest[key]
    path.write_text(json.dumps(manifest | {"time": {"total_s": "long"}, "policy": "mine", "hardware": None}))
    build(run_folder)
    assert not Page((run_folder / "report.html").read_text()).open


class TestVerdicts:
    def test_sentences(self, records: list[EpisodeRecord]) -> None:
        told = {one.configuration: one for one in verdicts(summarize("droid", records))}
        assert told["float32"].kind == "reference"
        assert told["float32"].sentence.startswith(
            "succeeds in 8 of 9 episodes: 89\xa0% (95\xa0% interval 57 to 98"
        )
        one = told["float8_e4m3_weights_only"]
        assert (one.kind, one.sentence.split(":")[0]) == ("undecided", "is not shown to differ from float32")
        assert "−44 points (−75 to +7, p\xa0=\xa00.44); 9 paired episodes are too few" in one.sentence

    def test_kinds(self, record_maker: Callable[..., EpisodeRecord]) -> None:
        task = Task(1, "scene_1", "cube in bowl", "put the cube in the bowl", 450)
        letters = {
            "float32": "s" * 20 + "f" * 20,
            "int8_both": "f" * 40,
            "int16_both": "s" * 40,
            "bfloat16_both": "s" * 20 + "f" * 20,
            "boolean_both": "e" * 40,
        }
        records = [
            record_maker(name, task, episode, letter)
            for name, outcomes in letters.items()
            for episode, letter in enumerate(outcomes)
        ]
        kinds = [one.kind for one in verdicts(summarize("droid", records))]
        assert kinds == ["reference", "worse", "better", "same", "nothing"]
        alone = verdicts(summarize("droid", [one for one in records if one.configuration == "int8_both"]))
        assert [one.kind for one in alone] == ["nothing"]


def test_markup() -> None:
    assert tag(
        "p", "a < b", Markup("<i>c</i>"), None, 3, class_="x y", hidden=True, id=None, aria_label='"'
    ) == ('<p class="x y" hidden aria-label="&quot;">a &lt; b<i>c</i>3</p>')
    assert tag("rect", x=1 / 3, width=2.0, rx=3) == '<rect x="0.33" width="2" rx="3"></rect>'
    assert tag("input", type="text") == '<input type="text">'
    assert join("&", Markup("&amp;")) == "&amp;&amp;"
