"""The report, opened in a real browser: what a reader must find is there and is drawn."""

import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from helpers.project import SCORED_IMAGES

CATEGORIES = {
    "1 Scores": 3,
    "2 Trainings": 3,
    "3 Thresholds and inputs": 3,
    "4 Pictures": 6,
    "5 The run": 1,
}


@pytest.fixture(scope="module")
def browser():
    paths = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(paths.values()):
        pytest.skip(f"no browser ({paths}): apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = paths["chromium"]
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    sandbox = ("--no-sandbox", "--disable-dev-shm-usage")  # for root, and for containers
    for argument in ("--headless=new", "--window-size=1500,1000", offline, *sandbox):
        options.add_argument(argument)
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(paths["chromedriver"])
    )
    yield driver
    driver.quit()


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


def open_entry(browser, number: int, button: int = 0) -> None:
    row = browser.find_elements(By.CSS_SELECTOR, "nav tbody tr")[number]
    browser.execute_script("arguments[0].click()", row.find_elements(By.TAG_NAME, "a")[button])


def test_the_table_of_stages_comes_first_with_the_workflow_below(report):
    top = report.find_element(By.CSS_SELECTOR, ".prose .banner, .prose table")
    assert 0 <= top.location["y"] < 100, "the top of the warnings or of the table is cut off"
    table = report.find_element(By.CSS_SELECTOR, ".prose table")
    stages = [row.text.split()[0] for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert stages == list(SCORED_IMAGES)
    graph = wait(
        report, lambda: report.find_elements(By.CSS_SELECTOR, "#content svg, svg.marks, canvas")
    )
    assert graph[0].location["y"] > table.location["y"] + table.size["height"]


def test_every_category_has_its_entries(report):
    menu = [link.text for link in links_of(report)]
    assert [name for name in menu if name in CATEGORIES] == list(CATEGORIES)
    for name, count in CATEGORIES.items():
        assert open_category(report, name) == count


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_entry_is_drawn_and_has_a_caption(report, category):
    shown = set()
    for number in range(open_category(report, category)):
        open_category(report, category)
        open_entry(report, number)
        shown.add(wait(report, lambda: next(iter(drawn(report) - shown), None)))
        open_entry(report, number, button=1)
        caption = wait(report, lambda: report.find_elements(By.CSS_SELECTOR, "nav .prose p, nav p"))
        assert len(caption[0].text.split()) > 10
    assert len(shown) == CATEGORIES[category]


def drawn(browser) -> set[str]:
    """The sources of what is on show: pictures of some size, and pages with a filled table."""
    found = set()
    for frame in browser.find_elements(By.TAG_NAME, "iframe"):
        source = frame.get_attribute("src")
        browser.switch_to.frame(frame)
        if browser.find_elements(By.CSS_SELECTOR, "table tbody tr"):
            found.add(source)
        browser.switch_to.default_content()
    for image in browser.find_elements(By.CSS_SELECTOR, "#app img"):
        width = "return arguments[0].complete ? arguments[0].naturalWidth : 0"
        if browser.execute_script(width, image) > 300:
            found.add(image.get_attribute("src"))
    return found


def test_nothing_is_fetched_from_elsewhere(report):
    fetched = report.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [name for name in fetched if not name.startswith(("data:", "blob:", "file:"))] == []
