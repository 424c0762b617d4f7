"""The report, opened in a real browser: what a reader must find is there and is drawn."""

import json

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from helpers.project import SCORED_IMAGES

CATEGORIES = {
    "1 Scores": 4,
    "2 Trainings": 3,
    "3 Thresholds and inputs": 3,
    "4 Pictures": 6,
    "5 The run": 1,
}


@pytest.fixture(scope="module")
def report(finished, browser):
    """The browser with the report of the reduced demo open."""
    file = finished.folder / "report.html"
    done = finished.snakemake("--report", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    browser.get(file.as_uri())
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "nav a"))
    return browser


def wait(browser, condition):
    return WebDriverWait(browser, 20).until(lambda _: condition())


def open_category(browser, name: str) -> int:
    """Open a category from the menu; returns the number of its entries."""
    browser.execute_script("app.setView({navbarMode: 'menu'})")
    links = wait(browser, lambda: [a for a in links_of(browser) if a.text == name])
    # By script, because the menu slides in for a moment.
    browser.execute_script("arguments[0].click()", links[0])
    return len(wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "nav tbody tr")))


def links_of(browser) -> list:
    return browser.find_elements(By.CSS_SELECTOR, "nav a")


def open_entry(browser, number: int) -> None:
    row = browser.find_elements(By.CSS_SELECTOR, "nav tbody tr")[number]
    browser.execute_script("arguments[0].click()", row.find_element(By.TAG_NAME, "a"))


def front(browser):
    """The front page."""
    browser.execute_script("app.setView({content: 'rulegraph', navbarMode: 'menu'})")
    return wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, ".front"))[0]


def test_the_front_page_says_what_the_score_file_says(report, finished):
    page = front(report)
    assert 0 <= page.location["y"] < 100, "the top of the page is cut off"
    score = json.loads((finished.results / "scores/val_crf.json").read_text())
    low, high = score["miou_255_as_background_interval"]
    figure = f"{score['miou_255_as_background']:.3f} (95 % interval {low:.3f} to {high:.3f})"
    said = page.find_element(By.CSS_SELECTOR, ".headline").text
    assert said.startswith("On 6 photographs of val") and figure in said
    bars = page.find_elements(By.CSS_SELECTOR, ".bar")
    assert len(bars) == len(SCORED_IMAGES)
    for bar, stage in zip(bars, SCORED_IMAGES, strict=True):
        value = json.loads((finished.results / f"scores/{stage}.json").read_text())
        assert bar.text.endswith(f"{value['miou_255_as_background']:.3f}")
    assert 1 < len(page.find_elements(By.CSS_SELECTOR, ".over")) <= 4
    (picture,) = [one for one in page.find_elements(By.CSS_SELECTOR, ".flow") if one.is_displayed()]
    assert len(picture.find_elements(By.TAG_NAME, "image")) == 8
    assert not any(one.is_displayed() for one in report.find_elements(By.ID, "rulegraph"))


def test_a_sentence_of_the_front_page_opens_its_page(report):
    front(report).find_element(By.LINK_TEXT, "All figures").click()
    (frame,) = wait(report, lambda: report.find_elements(By.TAG_NAME, "iframe"))
    report.switch_to.frame(frame)
    rows = report.find_elements(By.CSS_SELECTOR, "tbody tr")
    stages = [row.text.split()[0] for row in rows]
    report.switch_to.default_content()
    assert stages == list(SCORED_IMAGES)


def test_every_link_of_the_front_page_has_a_page(report):
    links = front(report).find_elements(By.CSS_SELECTOR, "a[onclick]")
    for link in links:
        page = link.get_attribute("onclick").split("endsWith('")[1].split("'")[0]
        known = "return Object.keys(results).filter(name => name.endsWith(arguments[0])).length"
        assert report.execute_script(known, page) == 1, page


def test_the_slider_takes_the_prediction_off(report):
    front(report)
    slider = report.find_element(By.CSS_SELECTOR, ".overlays input")
    drag = ActionChains(report).move_to_element(slider).click().perform
    drag()
    clip = "return getComputedStyle(arguments[0].querySelector('img + img')).clipPath"
    over = report.find_element(By.CSS_SELECTOR, ".over")
    assert 40 < float(report.execute_script(clip, over).split()[-1].rstrip("%)")) < 60


def test_every_category_has_its_entries(report):
    menu = [link.text for link in links_of(report)]
    assert [name for name in menu if name in CATEGORIES] == list(CATEGORIES)
    for name, count in CATEGORIES.items():
        assert open_category(report, name) == count


def test_trainings_are_in_the_order_in_which_they_run(report):
    open_category(report, "2 Trainings")
    rows = report.find_elements(By.CSS_SELECTOR, "nav tbody tr")
    assert [row.text for row in rows] == [
        "1 classifier", "2 segmentation, initial", "3 segmentation, final",
    ]  # fmt: skip


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_entry_begins_with_its_caption_and_fits_a_narrow_window(report, category):
    shown = set()
    report.set_window_size(800, 1000)
    try:
        for number in range(open_category(report, category)):
            open_category(report, category)
            open_entry(report, number)
            shown.add(wait(report, lambda: next(iter(drawn(report) - shown), None)))
    finally:
        report.set_window_size(1500, 1000)
    assert len(shown) == CATEGORIES[category]


def drawn(browser) -> set[str]:
    """The sources of the pages on show that fit the window, with a caption above what is drawn."""
    found = set()
    for frame in browser.find_elements(By.TAG_NAME, "iframe"):
        source = frame.get_attribute("src")
        browser.switch_to.frame(frame)
        content = browser.find_elements(By.CSS_SELECTOR, "svg.chart, table tbody tr, .compare")
        caption = browser.find_elements(By.CSS_SELECTOR, "p.caption")
        if (
            caption
            and content
            and content[0].size["width"] > 200
            and content[0].location["y"] > caption[0].location["y"]
            and len(caption[0].text.split()) > 10
            and fits(browser)
        ):
            found.add(source)
        browser.switch_to.default_content()
    return found


def fits(browser) -> bool:
    page = browser.execute_script(
        "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
    )
    return page[0] <= page[1]


@pytest.mark.parametrize("width", [800, 1400])
def test_nothing_of_the_front_page_is_cut_off(report, width):
    report.set_window_size(width, 1000)
    try:
        page = front(report)
        edges = (
            "return [...arguments[0].querySelectorAll('*')].map("
            "one => one.getBoundingClientRect().right)"
        )
        assert max(report.execute_script(edges, page)) <= width
    finally:
        report.set_window_size(1500, 1000)


def test_pictures_of_a_sheet_are_compared_and_zoomed(report):
    open_category(report, "4 Pictures")
    open_entry(report, 0)
    (frame,) = wait(report, lambda: report.find_elements(By.TAG_NAME, "iframe"))
    report.switch_to.frame(frame)
    try:
        stage = wait(report, lambda: report.find_elements(By.CSS_SELECTOR, ".compare"))[0]
        names = [name.text for name in stage.find_elements(By.CSS_SELECTOR, ".name")]
        assert names == ["image", "refined label"]
        report.find_element(By.XPATH, "//button[span='cam']").click()
        assert stage.find_elements(By.CSS_SELECTOR, ".name")[1].text == "cam"
        shown = "return arguments[0].style.getPropertyValue(arguments[1])"
        assert report.execute_script(shown, stage, "--at") == "50%"
        ActionChains(report).move_to_element(stage).click_and_hold().move_by_offset(
            -stage.size["width"] // 4, 0
        ).release().perform()
        assert float(report.execute_script(shown, stage, "--at").rstrip("%")) < 40
        stage.find_element(By.CSS_SELECTOR, "[aria-label='Zoom in']").click()
        assert "scale(1.5)" in report.execute_script(shown, stage, "--view")
    finally:
        report.switch_to.default_content()


def test_nothing_is_fetched_from_elsewhere_and_no_script_fails(report):
    fetched = report.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [name for name in fetched if not name.startswith(("data:", "blob:", "file:"))] == []
    assert [entry for entry in report.get_log("browser") if entry["level"] == "SEVERE"] == []
