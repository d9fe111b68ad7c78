"""The report page in headless Chromium, from ``file://``, with its videos.

It needs Debian's packages chromium and chromium-driver, and selenium; without them these tests are skipped.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headless_eval.config.results import ViewConfig
from headless_eval.contracts.simulator import Task
from headless_eval.report import build
from headless_eval.report.view import view
from headless_eval.results import EpisodeRecord, RunDirectory
from headless_eval.rollout.video import VideoWriter

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip(
        "no Chromium to show the page in: apt-get install chromium chromium-driver", allow_module_level=True
    )
webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install selenium")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
TASKS = [
    Task(1, "scene_1", "cube in bowl", "put the cube in the bowl", 450),
    Task(2, "scene_2", "can in mug", "<b>put</b> the can in the mug", 450),
]
REASONS = ("never_reached", "missed_grasp", "out_of_time")
NAMES = ["float32", "int8_weights_only", "boolean_both"]
EPISODES = 40


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(30)
    driver.set_script_timeout(20)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    run_maker: Callable[..., Path],
    record_maker: Callable[..., EpisodeRecord],
) -> Path:
    """A run of 240 episodes: float32 fails every fifth, int8 every fourth, boolean nearly all; one error."""

    def letter(name: str, task: Task, episode: int) -> str:
        if (name, task.id, episode) == ("int8_weights_only", 2, 7):
            return "e"
        every = {"float32": 5, "int8_weights_only": 4, "boolean_both": 1}[name]
        return "s" if episode % every or (name == "boolean_both" and episode == 3) else "f"

    records = [
        replace(
            record_maker(name, task, episode, letter(name, task, episode)),
            steps=100 + (37 * episode + 11 * task.id) % 350,
            video=f"videos/{name}/{task.key}_ep{episode:03d}_{letters[letter(name, task, episode)]}.mp4",
            reason=REASONS[episode % 3] if letter(name, task, episode) == "f" else None,
        )
        for name in NAMES
        for task in TASKS
        for episode in range(EPISODES)
        for letters in [{"s": "success", "f": "failure", "e": "error"}]
    ]
    # A name with all that a path may not mean, of a file that is there.
    records[1] = replace(records[1], video="videos/float32/50% #1? done.mp4")
    path = run_maker(tmp_path_factory.mktemp("run") / "run", records, NAMES, TASKS)
    for name, outcome in (("float32", "failure"), ("int8_weights_only", "failure")):
        place = RunDirectory.open(path).video_place(name, "scene_1", 0)
        writer = VideoWriter(*place, 10, task="cube in bowl", variant=name)
        for index in range(8):
            writer.add(np.full((64, 320, 3), 20 * index, np.uint8), index, index / 10)
        writer.close(outcome)
    shutil.copy(path / "videos/float32/scene_1_ep000_failure.mp4", path / str(records[1].video))
    build(path)
    return path


class Shown:
    """The page as a person uses it."""

    def __init__(self, driver: Any, path: Path) -> None:
        self.driver = driver
        self.url = path.as_uri()
        driver.get_log("browser"), driver.get_log("performance")
        driver.get(self.url)

    def run(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def rows(self) -> list[list[str]]:
        """Return the texts of the rows on show, without the first cell."""
        return self.run(
            "return [...document.querySelectorAll('#table tr.row')]"
            ".map(row => [...row.cells].slice(1).map(cell => cell.textContent))"
        )

    def choose(self, name: str, value: str) -> None:
        """Set a filter."""
        self.run(
            "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
            "field.dispatchEvent(new Event('input', {bubbles: true}))",
            f"by-{name}",
            value,
        )

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    @property
    def count(self) -> str:
        return self.run("return document.getElementById('count').textContent")

    def requests(self) -> list[str]:
        """Return the addresses that the browser asked for since the page was opened."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            one["params"]["request"]["url"]
            for one in messages
            if one["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Shown]:
    shown = Shown(browser, folder / "report.html")
    yield shown
    assert browser.get_log("browser") == [], "nothing on the console, whatever was done"
    assert all(url.startswith((folder.parent.as_uri(), "data:", "blob:")) for url in shown.requests())


def test_nothing_but_the_file_is_asked_for(browser: Any, folder: Path) -> None:
    shown = Shown(browser, folder / "report.html")
    assert shown.requests() == [shown.url]
    assert browser.get_log("browser") == []
    assert len(shown.rows()) == 50
    assert shown.count == "1 to 50 of 240"


def test_sort(page: Shown) -> None:
    def column(index: int) -> list[str]:
        return [row[index] for row in page.rows()]

    page.click("[data-sort=steps] button")
    steps = [int(text.split(" / ")[0]) for text in column(5)]
    assert steps == sorted(steps)
    assert (
        page.run("return document.querySelector('[data-sort=steps]').getAttribute('aria-sort')")
        == "ascending"
    )
    page.click("[data-sort=steps] button")
    steps = [int(text.split(" / ")[0]) for text in column(5)]
    assert steps == sorted(steps, reverse=True)
    page.click("[data-sort=status] button")
    assert set(column(3)) == {"success"}
    page.click("[data-sort=status] button")
    assert [text.split()[0] for text in column(3)[:3]] == ["error", "failure", "failure"]
    sorted_heads = page.run(
        "return [...document.querySelectorAll('[aria-sort]')].map(one => one.dataset.sort)"
    )
    assert sorted_heads == ["status"]


def test_filter(page: Shown) -> None:
    page.choose("configuration", "2")
    assert page.count == "1 to 50 of 80 (240 in all)"
    page.choose("task", "0")
    assert {(row[0], row[1]) for row in page.rows()} == {("boolean_both", "cube in bowl")}
    page.choose("status", "s")
    assert [row[:4] for row in page.rows()] == [["boolean_both", "cube in bowl", "3", "success"]]
    page.choose("task", "")
    page.choose("status", "")
    page.choose("pair", "lost")
    # Of 40 episodes of a task float32 succeeds in 32, boolean in the fourth of them.
    assert page.count == "1 to 50 of 62 (240 in all)"
    assert {row[4] for row in page.rows()} == {"lost"}
    page.choose("pair", "")
    page.choose("configuration", "")
    page.choose("text", "39")
    assert [row[2] for row in page.rows()] == ["39"] * 6
    page.choose("text", "nan")
    assert [row[:4] for row in page.rows()] == [["int8_weights_only", "can in mug", "7", "error"]]
    page.choose("text", "missed gr")
    assert {row[3] for row in page.rows()} == {"failure missed grasp"}
    page.choose("text", "no such thing")
    assert (page.rows(), page.count) == ([], "No episode matches.")


def test_pages(page: Shown) -> None:
    first = page.rows()
    assert not page.run("return document.querySelector('[data-go=next]').disabled")
    page.click("[data-go=next]")
    assert page.count == "51 to 100 of 240"
    page.click("[data-go=last]")
    assert page.count == "201 to 240 of 240"
    assert page.run("return document.querySelector('[data-go=next]').disabled")
    page.click("[data-go=first]")
    assert page.rows() == first


def played(page: Shown) -> list[float]:
    """Wait until the videos of the open row have ended, and return where they stand."""
    return page.driver.execute_async_script(
        "const done = arguments[0]; const videos = [...document.querySelectorAll('video')];"
        "const check = () => videos.every(one => one.ended) ? done(videos.map(one => one.currentTime))"
        " : setTimeout(check, 50); check();"
    )


def test_a_row_opens_its_video_beside_that_of_float32(page: Shown) -> None:
    page.choose("configuration", "1")
    page.click("#table tr.row td:nth-child(3)")
    assert page.run("return document.querySelector('.opener').getAttribute('aria-expanded')") == "true"
    sources = page.run(
        "return [...document.querySelectorAll('.detail video')].map(one => one.getAttribute('src'))"
    )
    assert sources == [
        "./videos/int8_weights_only/scene_1_ep000_failure.mp4",
        "./videos/float32/scene_1_ep000_failure.mp4",
    ]
    assert "put the cube in the bowl" in page.run("return document.querySelector('.detail').textContent")
    page.click(".both")
    assert min(played(page)) > 0.5
    page.click("#table tr.row td:nth-child(3)")
    assert page.run("return document.querySelector('.detail')") is None


@pytest.mark.parametrize("width", [390, 1200])
def test_a_row_shows_what_the_precision_would_have_done(
    browser: Any,
    tmp_path: Path,
    run_maker: Callable[..., Path],
    record_maker: Callable[..., EpisodeRecord],
    error_adder: Callable[..., RunDirectory],
    width: int,
) -> None:
    own = replace(record_maker("int4_both", TASKS[0], 0, "s"), video=None)
    folder = run_maker(tmp_path / "run", [own], ["float32", "int4_both"])
    mine = replace(record_maker("float32", TASKS[0], 0, "s"), steps=20, video=None)

    def error(steps: int) -> np.ndarray:
        errors = np.full((steps, 8), 1e-3)
        errors[8:16, 3] = np.nan
        errors[16:, 3] = 1.0
        return errors

    error_adder(folder, [mine], {"int4_both": error})
    build(folder)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    shown = Shown(browser, folder / "report.html")
    try:
        shown.choose("configuration", "1")
        shown.click("#table .opener")
        strips = shown.run(
            "return [...document.querySelectorAll('.asked p')].map(row => [row.textContent.slice(0, 7),"
            "...[...row.querySelectorAll('rect')].map(box => box.getAttribute('class'))])"
        )
        assert strips[3] == ["joint_4", "cell", "broken", "cell"]
        assert len(strips) == 8
        opacity = "return [...document.querySelectorAll('.asked rect')].map(box => +box.getAttribute('fill-opacity'))"
        assert [round(value, 2) for value in shown.run(opacity)][9:12] == [0.04, 1, 1]
        assert "about 1 at most" in shown.run("return document.querySelectorAll('.asked svg')[3].ariaLabel")
        assert shown.run("return document.documentElement.scrollWidth") <= width
        assert browser.get_log("browser") == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_names_of_videos_may_hold_anything(page: Shown) -> None:
    page.run("document.querySelectorAll('.opener')[1].click()")
    page.run("document.querySelector('video').play()")
    assert played(page)[0] > 0.5


def test_a_video_that_is_gone_is_said_to_be(browser: Any, folder: Path) -> None:
    page = Shown(browser, folder / "report.html")
    page.choose("configuration", "1")
    page.run("document.querySelectorAll('.opener')[2].click()")
    text = browser.execute_async_script(
        "const done = arguments[0]; const check = () => { const found = document.querySelector('.missing');"
        " found ? done(found.textContent) : setTimeout(check, 20) }; check();"
    )
    assert text == "The video is not there: videos/int8_weights_only/scene_1_ep002_success.mp4"
    assert page.run("return document.querySelector('.both')") is None


def test_tracebacks_fold(page: Shown) -> None:
    page.choose("status", "e")
    page.run("document.querySelectorAll('video').forEach(one => one.remove())")
    page.run("HTMLMediaElement.prototype.setAttribute = () => {}")  # its videos are not there, on purpose
    page.click(".opener")
    shown = "const box = document.querySelector('.detail pre').getBoundingClientRect(); return box.height"
    assert page.run("return document.querySelector('.detail details').open") is False
    page.click(".detail summary")
    assert page.run(shown) > 10
    assert page.run("return document.querySelector('.detail pre').textContent").startswith("Traceback")
    page.click(".detail summary")
    assert page.run("return document.querySelector('.detail details').open") is False
    page.click("#manifest ~ details summary")
    assert '"suite": "droid"' in page.run(
        "return document.querySelector('#manifest ~ details pre').textContent"
    )


def test_instructions_are_text(page: Shown) -> None:
    page.choose("task", "1")
    page.run("HTMLMediaElement.prototype.setAttribute = () => {}")
    page.click(".opener")
    assert "“<b>put</b> the can in the mug”" in page.run(
        "return document.querySelector('.detail').textContent"
    )


def test_keyboard(page: Shown) -> None:
    from selenium.webdriver.common.keys import Keys

    opener = page.driver.find_element("css selector", ".opener")
    opener.send_keys(Keys.ENTER)
    assert opener.get_attribute("aria-expanded") == "true"
    opener.send_keys(Keys.SPACE)
    assert opener.get_attribute("aria-expanded") == "false"
    head = page.driver.find_element("css selector", "[data-sort=episode] button")
    head.send_keys(Keys.ENTER)
    head.send_keys(Keys.ENTER)
    assert page.rows()[0][2] == "39"
    unnamed = page.run(
        "return [...document.querySelectorAll('button, select, input, svg[role=img], [role=region]')]"
        ".filter(one => !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).length"
    )
    assert unnamed == 0


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_in_one_direction(page: Shown, width: int) -> None:
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.driver.get(page.url)
        page.click(".opener")
        page.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
        assert page.run("return [document.documentElement.scrollWidth, innerWidth]") == [width, width]
        wider = page.run(
            "return [...document.querySelectorAll('video, .chart, .verdicts, #filters, .sheet')]"
            ".filter(one => one.getBoundingClientRect().right > innerWidth).map(one => one.outerHTML.slice(0, 80))"
        )
        assert wider == []
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_no_text_covers_another_and_nothing_is_cut(page: Shown, width: int) -> None:
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 1000}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.driver.get(page.url)
        found = page.run(
            """
            const covering = [];
            for (const drawing of document.querySelectorAll(".chart, .forest")) {
              const texts = [...drawing.querySelectorAll("text, b, span")]
                .map((one) => [one.textContent, one.getBoundingClientRect()]).filter(([, box]) => box.width);
              texts.forEach(([name, one], index) => texts.slice(index + 1).forEach(([other, two]) => {
                const beside = one.left >= two.right || two.left >= one.right;
                if (!beside && one.top + 2 < two.bottom && two.top + 2 < one.bottom)
                  covering.push(`${name} | ${other}`);
              }));
            }
            const cut = [...document.querySelectorAll(".scroll")].filter((one) => one.scrollWidth > one.clientWidth);
            return [document.querySelectorAll(".forest text").length, covering, cut.map((one) => one.ariaLabel)];
            """
        )
        ticks, covering, cut = found
        assert ticks > 3
        assert covering == []
        assert cut == []
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system(page: Shown, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        luminances = page.run(
            """
            const luminance = (colour) => {
              const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
                .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
              return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
            };
            const style = (selector, name) => luminance(getComputedStyle(document.querySelector(selector))[name]);
            return {
              page: style("body", "backgroundColor"), panel: style("figure", "backgroundColor"),
              text: style("body", "color"), faint: style(".note", "color"),
              label: style(".chart .label", "fill"), bar: style(".chart .c0", "fill"),
              whisker: style(".chart .whisker", "stroke"), button: style("#pager button", "backgroundColor"),
            };
            """
        )
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminances[one], luminances[other]))
        return (high + 0.05) / (low + 0.05)

    assert (luminances["page"] > 0.5) == (luminances["button"] > 0.5) == (scheme == "light")
    # The levels of WCAG 2: 4.5 for text (7 for much of it), 3 for drawings.
    assert contrast("text", "page") > 7
    assert contrast("faint", "page") > 4.5
    assert contrast("label", "panel") > 7
    assert contrast("bar", "panel") > 3
    assert contrast("whisker", "panel") > 3


@pytest.mark.slow
def test_100_000_episodes_stay_usable(
    browser: Any, tmp_path: Path, run_maker: Callable[..., Path], record_maker: Callable[..., EpisodeRecord]
) -> None:
    tasks = [
        Task(index, f"task_{index}", f"pick up object {index}", "pick it up", 450) for index in range(20)
    ]
    names = ["float32", "bfloat16_weights_only", "int8_weights_only", "int8_both", "boolean_both"]
    folder = run_maker(tmp_path / "run", [], names, tasks)
    with open(folder / "journal.jsonl", "w", encoding="utf-8") as file:
        for index, name in enumerate(names):
            for task in tasks:
                for episode in range(1000):
                    letter = "ssssf"[(episode * (index + 1) + task.id) % 5] if episode % 97 else "e"
                    file.write(record_maker(name, task, episode, letter).to_json() + "\n")
    build(folder)
    assert (folder / "report.html").stat().st_size < 4_000_000
    page = Shown(browser, folder / "report.html")
    assert page.count == "1 to 50 of 100,000"
    timed = "const start = performance.now(); {} return performance.now() - start"
    seconds = {
        "load": page.run("return performance.getEntriesByType('navigation')[0].duration") / 1000,
        "sort": page.run(timed.format("document.querySelector('[data-sort=seconds] button').click();"))
        / 1000,
        "find": page.run(
            timed.format(
                "const field = document.getElementById('by-text'); field.value = 'object 7';"
                "field.dispatchEvent(new Event('input'));"
            )
        )
        / 1000,
    }
    print(seconds, f"{(folder / 'report.html').stat().st_size / 1e6:.1f} MB")
    assert page.count == "1 to 50 of 5,000 (100,000 in all)"
    assert max(seconds.values()) < 3
    assert page.run("return document.querySelectorAll('#table tr.row').length") == 50


def test_the_list_of_runs_is_filtered(browser: Any, folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(folder, tmp_path / name, ignore=shutil.ignore_patterns("videos"))
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text())
    manifest["policy"] = {"name": "another"}
    (tmp_path / "two" / "manifest.json").write_text(json.dumps(manifest))
    assert view(ViewConfig(directory=tmp_path)) == 0
    browser.get(f"file://{tmp_path}/index.html")

    def shown() -> list[str]:
        found: list[str] = browser.execute_script(
            "return [...document.querySelectorAll('#runs tbody tr')].filter(row => !row.hidden)"
            ".map(row => row.querySelector('th a').textContent)"
        )
        return sorted(found)

    def choose(name: str, value: str) -> None:
        browser.execute_script(
            "const it = document.getElementById(arguments[0]); it.value = arguments[1];"
            "it.dispatchEvent(new Event('input', { bubbles: true }));",
            name,
            value,
        )

    assert shown() == ["one", "two"]
    choose("by-policy", "another")
    assert shown() == ["two"]
    choose("by-policy", "")
    choose("by-precision", "boolean_both")
    assert shown() == ["one", "two"]
    lines = browser.find_elements("css selector", ".rates li")
    assert {line.get_attribute("data-precision") for line in lines if line.is_displayed()} == {"boolean_both"}
    choose("by-text", "nothing like it")
    assert shown() == []
    assert browser.find_element("id", "count").text == "0 of 2 runs"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
