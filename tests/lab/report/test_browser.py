"""The page in headless Chromium: clicked through, silent, accessible by axe-core's rules."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_problem import place_in

from permtrain.lab.report.contents import Collector
from permtrain.lab.report.page import write_page
from permtrain.lab.report.sources import find_runs

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

PHONE, DESKTOP = 390, 1280
ATTACK = "<img src=x onerror=console.error(1)><b>bold</b>"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(permuted: Path, unpermuted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = place_in(Path("runs"))
    runs = find_runs([str(permuted), str(unpermuted)], Path("runs"), "quick")
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, Collector(place).collect(runs), f"Two runs {ATTACK}")
    return path


@pytest.fixture
def opened(browser, page_file: Path) -> Iterator:
    """Opens the page; whatever it complains about or asks the network for is a failure."""
    complaints: list[str] = []
    contexts = []

    def open_page(path: Path = page_file, width: int = DESKTOP, scheme: str = "light"):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, has_touch=width == PHONE
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((path.as_uri(), "data:", "blob:"))
                else complaints.append(request.url)
            ),
        )
        page.goto(path.as_uri())
        page.wait_for_selector("#theme")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def drawn(page, chart: str, what: str = "x"):
    return page.evaluate(f"document.getElementById('{chart}').data[0].{what}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_nothing_to_complain_about(opened, width: int, scheme: str) -> None:
    page = opened(width=width, scheme=scheme)
    for fold in page.locator("details").all():
        fold.evaluate("fold => { fold.open = true; }")
    page.wait_for_selector("[data-size] .main-svg")
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_charts_keep_their_height_and_place_where_the_window_is_narrowed(opened) -> None:
    page = opened()
    for fold in page.locator("details").all():
        fold.evaluate("fold => { fold.open = true; }")
    page.wait_for_selector("[data-size] .main-svg")
    parts = (
        "[...document.querySelectorAll('.chart')].map(chart => ["
        "chart.getBoundingClientRect(), chart.querySelector('.main-svg').getBoundingClientRect()]"
        ".map(each => [Math.round(each.width), Math.round(each.height)]))"
    )
    heights = {}
    for width in (DESKTOP, 700, PHONE, 320, DESKTOP):
        page.set_viewport_size({"width": width, "height": 800})
        for _ in range(100):  # until all is drawn anew
            boxes = page.evaluate(parts)
            if all(box == drawing for box, drawing in boxes):
                break
            page.wait_for_timeout(50)
        assert all(box == drawing and box[0] < width for box, drawing in boxes)
        heights[width] = sorted({height for (_, height), _ in boxes})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert heights[DESKTOP] == heights[700] == [240, 360]
    names = page.evaluate("document.getElementById('curve-chart').data.map(each => each.name)")
    legend = 18 * sum(name.count("<br>") + 1 for name in names)
    assert heights[PHONE] == heights[320] == [240, 360, 360 + legend]


def test_a_title_is_shown_as_it_is(opened) -> None:
    assert opened().inner_text("h1") == f"Two runs {ATTACK}"


def test_measures_are_chosen_and_hovered(opened) -> None:
    page = opened()
    assert drawn(page, "curve-chart") == [1, 2, 3]
    page.select_option("#measure", label="training loss")
    axis = "document.getElementById('curve-chart').layout.yaxis.title.text"
    assert page.evaluate(axis) == "training loss"
    page.locator("#curve-chart").scroll_into_view_if_needed()
    box = page.locator("#curve-chart .nsewdrag").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#curve-chart .hoverlayer .legend", state="attached")


def test_weights_move_with_the_slider_by_keyboard(opened) -> None:
    page = opened()
    page.select_option("#layer", label="conv1.weight")
    page.focus("#checkpoint")
    page.keyboard.press("Home")
    born = drawn(page, "dots-chart", "y")
    assert page.inner_text("#state") == "Step 0: conv1.weight as it was born."
    assert born == sorted(born)
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#state").startswith("Step 5: ")
    assert page.get_attribute("#checkpoint", "aria-valuetext") == "step 5"
    page.keyboard.press("End")
    last = drawn(page, "dots-chart", "y")
    assert page.inner_text("#state").startswith("Step 15: ")
    assert last != born
    assert sorted(last) == born
    assert len(drawn(page, "heat-chart", "z")) == 16


def test_runs_and_layers_are_chosen(opened, unpermuted: Path) -> None:
    page = opened()
    page.select_option("#run", label=unpermuted.name)
    page.select_option("#layer", label="output.weight")
    assert page.inner_text("#state").startswith("Step 10: ")
    assert "output.weight" in page.inner_text("#state")
    assert len(drawn(page, "heat-chart", "z")) == 10


def test_play_runs_to_the_last_checkpoint(opened) -> None:
    page = opened()
    page.click("#play")
    assert page.get_attribute("#play", "aria-pressed") == "true"
    page.wait_for_selector("#play[aria-pressed=false]")
    assert page.inner_text("#state").startswith("Step 15: ")


@pytest.mark.parametrize(("scheme", "after"), [("light", "dark"), ("dark", "light")])
def test_light_and_dark_are_switched_and_kept(opened, scheme: str, after: str) -> None:
    page = opened(scheme=scheme)
    colour = "document.getElementById('curve-chart').layout.font.color"
    before = page.evaluate(colour)
    page.click("#theme")
    assert page.get_attribute("#theme", "aria-pressed") == str(after == "dark").lower()
    assert page.evaluate(colour) == ("#eceff1" if after == "dark" else "#16191d") != before
    page.reload()
    assert page.get_attribute("html", "data-theme") == after


def test_a_run_is_opened_from_the_table(opened, permuted: Path) -> None:
    page = opened()
    assert not page.locator("#run-1").evaluate("fold => fold.open")
    page.click(f"table a >> text={permuted.name}")
    assert page.locator("#run-1").evaluate("fold => fold.open")
    page.wait_for_selector("#run-1 [data-size] .main-svg")


def test_a_live_page_reads_itself_anew_until_it_is_paused(
    opened, permuted: Path, tmp_path: Path
) -> None:
    contents = Collector(place_in(Path("runs"))).collect(
        find_runs([str(permuted)], Path("runs"), "quick")
    )
    path = tmp_path / "live.html"
    write_page(path, contents, "before", refresh_s=3)
    page = opened(path)
    page.select_option("#layer", label="conv2.weight")
    write_page(path, contents, "after", refresh_s=3)
    page.wait_for_selector("h1 >> text=after")
    page.click("#pause")
    page.wait_for_selector("#pause[aria-pressed=true]")
    chosen = "document.getElementById('layer').selectedOptions[0].text"
    assert page.evaluate(chosen) == "conv2.weight"
    write_page(path, contents, "later", refresh_s=3)
    page.wait_for_timeout(4000)
    assert page.inner_text("h1") == "after"
