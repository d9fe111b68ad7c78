"""The report page as a file: self-contained, escaped, small. What it does is tested in test_page_in_browser.py."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from headless_eval.contracts.simulator import Task
from headless_eval.report import build
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


def test_a_run_that_has_not_got_far(tmp_path: Path, run_maker: Callable[..., Path]) -> None:
    folder = run_maker(tmp_path / "run", [], ["float32"])
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    build(folder)
    page = Page((folder / "report.html").read_text())
    assert "No episode has run." in page.text
    assert "interrupted" in page.text


def test_a_sparse_manifest_still_gives_a_page(run_folder: Path) -> None:
    path = run_folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for key in ("policy", "hardware", "command", "seed", "started_at", "settings"):
        del manifest[key]
    path.write_text(json.dumps(manifest | {"time": None, "hardware": None}))
    build(run_folder)
    assert not Page((run_folder / "report.html").read_text()).open
