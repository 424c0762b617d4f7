"""Fixtures of the tests that look at pages."""

import shutil

import pytest
from selenium import webdriver


@pytest.fixture(scope="module")
def browser():
    paths = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(paths.values()):
        pytest.skip(f"no browser ({paths}): apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = paths["chromium"]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    sandbox = ("--no-sandbox", "--disable-dev-shm-usage")  # for root, and for containers
    for argument in ("--headless=new", "--window-size=1500,1000", offline, *sandbox):
        options.add_argument(argument)
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(paths["chromedriver"])
    )
    yield driver
    driver.quit()
