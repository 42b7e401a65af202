"""The report in a real browser: nothing breaks, nothing overflows, everything can be heard."""

import shutil
from pathlib import Path

import pytest

from study.analysis.study_analysis import StudyAnalysis
from study.planning.contrasts import build_contrasts
from study.reporting.build import compose_report, write_report

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="needs the programs chromium and chromedriver"
    ),
]
WIDTHS = (400, 1_400)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
STUDY = {
    "name": "seen",
    "data": {
        "preset": "simulated",
        "sources": [{"source": "simulated", "molecules": 80, "labels": 6, "skew": 2.0}],
    },
    "split": {"folds": 2, "min_positives": 2},
    "modalities": {"descriptors": {"modality": "fingerprint", "radius": 1}},
    "grid": [
        {"features": [["fingerprint"], ["descriptors"]]},
        {
            "features": [["descriptors", "fingerprint"]],
            "technique": ["mlp_head", "label_balancer", "independent_mean"],
            "partition": ["density"],
        },
    ],
    "training": {"epochs": 2, "patience": 2, "epoch_steps": 1, "hidden": [8]},
    "seeds": [0, 1],
    "fractions": [0.5, 1.0],
}


@pytest.fixture(scope="module")
def page(tmp_path_factory, spec_of, run_tiny):
    record = run_tiny(spec_of(STUDY, tmp_path_factory.mktemp("seen")))[1]
    evidence = StudyAnalysis(record, build_contrasts(record.spec, record.plan))
    return write_report(compose_report(evidence), tmp_path_factory.mktemp("page"))[0]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(params=WIDTHS)
def opened(request, browser, page):
    """The page at one width."""
    size = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(Path(page).as_uri())
    assert browser.execute_script("return innerWidth") == request.param
    return browser


def test_the_console_is_silent_and_nothing_is_fetched(opened):
    assert opened.get_log("browser") == []
    fetched = "return performance.getEntriesByType('resource').map((each) => each.name)"
    assert [name for name in opened.execute_script(fetched) if not name.startswith("data:")] == []


def test_the_page_does_not_scroll_sideways(opened):
    script = "return [document.documentElement.scrollWidth, innerWidth]"
    content, window = opened.execute_script(script)
    assert content <= window


def test_every_figure_is_drawn_and_named(opened):
    script = """return [...document.querySelectorAll("figure svg")].map((svg) => ({
      role: svg.getAttribute("role"), words: svg.querySelector("desc").textContent,
      width: svg.getBoundingClientRect().width, height: svg.getBoundingClientRect().height,
      shapes: svg.querySelectorAll("path, use, image").length,
      letters: Math.min(...[...svg.querySelectorAll("text")].map(
        (text) => parseFloat(getComputedStyle(text).fontSize) * svg.getScreenCTM().a)),
      caption: svg.closest("figure").querySelector("figcaption").textContent}))"""
    figures = opened.execute_script(script)
    assert len(figures) >= 10
    for figure in figures:
        assert figure["role"] == "img"
        assert len(figure["words"]) > 40
        assert len(figure["caption"]) > 40
        assert figure["shapes"] > 5
        assert min(figure["width"], figure["height"]) > 100
        assert figure["letters"] >= 6


def test_screen_readers_hear_the_names_of_figures(opened):
    nodes = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    images = [node for node in nodes if node["role"]["value"] in ("img", "image")]
    drawn = opened.execute_script("return document.querySelectorAll('figure svg').length")
    named = [node for node in images if len(node["name"]["value"]) > 40]
    assert len(named) == drawn


def test_a_heading_sorts_its_table_both_ways(opened):
    column = """
      const table = document.querySelector("#table-arms");
      const at = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent.startsWith("AUROC"));
      if (arguments[0]) table.tHead.rows[0].cells[at].querySelector("button").click();
      return [[...table.tBodies[0].rows].map((row) => parseFloat(row.cells[at].dataset.value)),
              table.tHead.rows[0].cells[at].getAttribute("aria-sort")]"""
    before, word = opened.execute_script(column, False)
    assert word is None
    rising = opened.execute_script(column, True)
    falling = opened.execute_script(column, True)
    assert rising == [sorted(before), "ascending"]
    assert falling == [sorted(before, reverse=True), "descending"]
    assert sorted(before) != before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_have_text_one_can_read(opened, scheme):
    wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    script = """const colors = (element, key) => getComputedStyle(element)[key]
        .match(/[\\d.]+/g).slice(0, 3).map(Number);
      const texts = ["p", "td", "figcaption", "li", "a", "th button"].map(
        (each) => colors(document.querySelector(each), "color"));
      texts.push(colors(document.querySelector("figure svg text"), "fill"));
      return [colors(document.documentElement, "backgroundColor"), texts]"""
    paper, texts = opened.execute_script(script)
    assert (luminance(paper) > 0.5) == (scheme == "light")
    for color in texts:
        low, high = sorted((luminance(color), luminance(paper)))
        assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2.2, level AA


def luminance(color):
    parts = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
             for v in (each / 255 for each in color)]  # fmt: skip
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_a_printed_page_has_nothing_cut_off(opened):
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    a4 = {"width": 720, "height": 1_000, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", a4)
    content = opened.execute_script("return document.documentElement.scrollWidth")
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert content <= 720
