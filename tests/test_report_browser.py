"""The page about a run in a real browser: it renders, loads nothing, fits a phone, and can be read in the dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import semivae
from semivae.api import Run
from semivae.page.report import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="the browser's driver, playwright, is not installed")
CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
KEPT = Path(__file__).parent / "data" / "run_0_1_0"
PAGES = ("digits", "masks", "table", "several")
# The lowest contrast of text with what lies behind it (WCAG 2), and where; on filled nodes ink and paper are swapped.
LOWEST_CONTRAST = """() => {
  const parts = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
  const light = rgb => { const [r, g, b] = rgb.map(v => v / 255).map(v =>
    v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = element => { const top = parts(getComputedStyle(element).backgroundColor);
    if (top[3] === 1) return top.slice(0, 3);
    return over(top, element.parentElement ? behind(element.parentElement) : [255, 255, 255]); };
  let worst = [99, ""];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.matches(".name.observed")) continue;
    const style = getComputedStyle(element), ground = behind(element.closest("svg")?.parentElement ?? element);
    const ink = over(parts(element.closest("svg") ? style.fill : style.color), ground);
    const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < worst[0]) worst = [contrast, `${element.tagName} ${element.className} ${element.textContent}`];
  }
  return worst;
}"""


@pytest.fixture(scope="module")
def pages(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page of each sort."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {
        name: semivae.load(KEPT / name, data_root=KEPT / "data", device="cpu") for name in ("masks", "table", "ladder")
    }
    write_report([tiny_run], folder / "digits.html")
    write_report([runs["masks"]], folder / "masks.html")
    write_report([runs["table"]], folder / "table.html")
    write_report([tiny_run, *runs.values()], folder / "several.html")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


def opened(browser: Any, path: Path) -> tuple[Any, list[str]]:
    """The page, and all that it complains of or asks for from outside."""
    view = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light").new_page()
    complaints: list[str] = []
    view.on("console", lambda message: complaints.append(message.text))
    view.on("pageerror", lambda error: complaints.append(str(error)))
    view.on("request", lambda asked: complaints.extend([asked.url] * (not asked.url.startswith(("file:", "data:")))))
    view.goto(path.as_uri())
    return view, complaints


@pytest.fixture(scope="module", params=PAGES)
def shown(browser: Any, pages: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Any, list[str]]]:
    """Each page, opened once; its window and its colours may be changed."""
    view, complaints = opened(browser, pages / f"{request.param}.html")
    yield request.param, view, complaints
    view.context.close()


def test_it_renders_and_asks_for_nothing(shown: tuple[str, Any, list[str]]) -> None:
    name, view, complaints = shown
    assert complaints == []
    assert view.title()
    sizes = view.eval_on_selector_all("img", "images => images.map(image => [image.naturalWidth, image.naturalHeight])")
    assert all(width > 0 and height > 0 for width, height in sizes)
    assert bool(sizes) == (name != "table")
    boxes = view.eval_on_selector_all("main svg, main img", "all => all.map(one => one.getBoundingClientRect().width)")
    assert boxes and min(boxes) > 0


def test_a_phone_scrolls_down_only(shown: tuple[str, Any, list[str]]) -> None:
    for width in (390, 320):
        shown[1].set_viewport_size({"width": width, "height": 900})
        assert shown[1].evaluate("document.documentElement.scrollWidth") <= width
    shown[1].set_viewport_size({"width": 1280, "height": 900})


def test_text_stands_out(shown: tuple[str, Any, list[str]]) -> None:
    for scheme in ("light", "dark"):
        shown[1].emulate_media(color_scheme=scheme)
        contrast, where = shown[1].evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, (scheme, where)  # WCAG 2, level AA


def test_dark_is_dark_and_paper_is_white(browser: Any, pages: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    view, _ = opened(browser, pages / "digits.html")
    light = view.evaluate(ground)
    view.emulate_media(color_scheme="dark")
    dark = view.evaluate(ground)
    view.emulate_media(media="print", color_scheme="dark")
    assert dark != light and view.evaluate(ground) == light
    assert view.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
