"""The gallery, opened in a real browser as a file: what people see, choose and save there."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from helpers.project import ROOT
from i2crc.artifacts.stages import STAGES
from i2crc.data.images import write_gray, write_label
from i2crc.inference.logits import write_logits

SCRIPT = ROOT / "workflow_scripts" / STAGES["gallery"].script
CLASSES = ["cat", '</script><b>"x', "犬"]
STRANGE = ["a/b#1", "per%20cent", 'quote\'s "two"', "日本 語", "<b>bold", "q?x=1&y", "back\\slash"]
COUNT = 150
IDS = [*STRANGE, *(f"photo_{number:03}" for number in range(COUNT - len(STRANGE)))]
EXCLUDED_BEFORE = "gone"
OPTIONS = {
    "--saliency": "saliency", "--cams": "cams", "--initial": "initial", "--refined": "refined",
    "--predictions": "predictions", "--logits": "logits",
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """What the gallery is made from: small photographs, every fifth a negative."""
    folder = tmp_path_factory.mktemp("gallery")
    random = np.random.default_rng(0)
    photo, images = folder / "photo.jpg", []
    Image.fromarray(random.integers(0, 255, (12, 16, 3), np.uint8)).save(photo)
    write_label(folder / "mask.png", np.ones((12, 16)))
    for number, name in enumerate(IDS):
        classes = [number % 3] if number % 5 else []
        images.append({"id": name, "image": str(photo), "mask": str(folder / "mask.png"),
                       "classes": classes, "width": 16, "height": 12, "sha256": "1",
                       "mask_sha256": "1"})  # fmt: skip
        write_gray(folder / f"saliency/{name}.png", np.full((12, 16), 200, np.uint8))
        for c in classes:
            write_gray(folder / f"cams/{name}_{c}.png", np.full((12, 16), 200, np.uint8))
        for stage in ("initial", "refined", "predictions"):
            values = np.array([0, 1, 2, 3, 255 if stage != "predictions" else 0])
            write_label(folder / f"{stage}/{name}.png", random.choice(values, (12, 16)))
        write_logits(folder / f"logits/{name}.npz", random.normal(0, 2, (4, 3, 4)))
    for stage in OPTIONS.values():
        files = [file for file in (folder / stage).rglob("*") if file.is_file()]
        write_manifest(folder, stage, [str(file.relative_to(folder / stage)) for file in files])
    index = {"split": "train", "classes": CLASSES, "images": images}
    index["corrections"] = {"exclude": [EXCLUDED_BEFORE], "relabel": {"photo_001": [CLASSES[2]]}}
    (folder / "index.json").write_text(json.dumps(index))
    rows = "".join(f"{name},{number / COUNT},1,0:1:2:2\n" for number, name in enumerate(IDS[-100:]))
    (folder / "images.csv").write_text(f"id,miou_255_as_background,coverage,counts\n{rows}")
    return folder


def write_manifest(folder: Path, stage: str, files: list[str], sha: str = "1") -> None:
    content = {"stage": stage, "folder": stage, "files": dict.fromkeys(files, sha)}
    (folder / f"{stage}.json").write_text(json.dumps(content))


def make(folder: Path, index: str = "index.json") -> str:
    """Make the gallery of a folder; returns its log."""
    command = [sys.executable, str(SCRIPT), "--experiment=<i>try", f"--index={index}"]
    command += [word for name, stage in OPTIONS.items() for word in (name, f"{stage}.json")]
    command += ["--images-csv=images.csv", "--manifest=gallery/manifest.json"]
    command += ["--page=gallery/index.html", "--photos=gallery/photos.js", "--threads=2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def gallery(inputs) -> Path:
    make(inputs)
    return inputs / "gallery" / "index.html"


@pytest.fixture
def page(gallery, browser):
    """The browser with a gallery in which nothing has been chosen yet."""
    browser.get(gallery.as_uri())
    browser.execute_script("localStorage.clear()")
    browser.get("about:blank")
    requested(browser)
    browser.get(gallery.as_uri())
    return browser


def cards(browser) -> list[str]:
    """The ids of the cards that exist, in the order of their places."""
    return browser.execute_script(
        "return [...document.querySelectorAll('.card')].sort((a, b) => a.ariaPosInSet - "
        "b.ariaPosInSet).map(card => card.querySelector('.id').textContent)"
    )


def choose(browser, name: str, value: str) -> None:
    """Choose from a select element, or type into the search."""
    browser.execute_script(
        "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
        "field.dispatchEvent(new Event('input')); field.dispatchEvent(new Event('change'))",
        name, value,
    )  # fmt: skip


def press(browser, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def requested(browser) -> list[str]:
    """The addresses that the browser has asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event for event in events if event["method"] == "Network.requestWillBeSent"]
    return [event["params"]["request"]["url"] for event in sent]


def wait(browser, condition):
    return WebDriverWait(browser, 20).until(lambda _: condition())


def text(browser, name: str) -> str:
    return browser.find_element(By.ID, name).text


def search_for(browser, name: str):
    """The card of a photograph, alone on the page."""
    choose(browser, "search", name)
    assert cards(browser) == [name]
    return browser.find_element(By.CSS_SELECTOR, ".card")


def doubt_of(folder: Path, name: str) -> float:
    """The doubt, from the files of the stages."""
    with np.load(folder / f"logits/{name}.npz") as file:
        logits = torch.from_numpy(file["logits"].astype(np.float32))
    most = torch.softmax(logits, 0).max(0).values[None, None]
    most = torch.nn.functional.interpolate(most, size=(12, 16), mode="bilinear")[0, 0].numpy()
    label, prediction = (
        np.asarray(Image.open(folder / stage / f"{name}.png"))
        for stage in ("refined", "predictions")
    )
    number = IDS.index(name)
    own = [0, number % 3 + 1] if number % 5 else [0]
    doubted = ((label != prediction) & (label != 255)) | ~np.isin(prediction, own)
    return float(most[doubted].sum() / label.size)


def test_the_worst_come_first_by_the_doubt_of_the_files(page, inputs):
    doubts = {name: doubt_of(inputs, name) for name in IDS}
    shown = cards(page)
    assert shown[:10] == sorted(IDS, key=lambda name: -doubts[name])[:10]
    card = page.find_element(By.CSS_SELECTOR, ".card .facts").text
    assert f"doubt {100 * max(doubts.values()):.1f} %" in card
    choose(page, "order", "iou")
    assert cards(page)[:3] == IDS[-100:-97]
    choose(page, "order", "name")
    assert cards(page)[:3] == sorted(IDS)[:3]


def test_photographs_are_filtered_by_class_and_id(page):
    assert text(page, "count") == f"{COUNT} photographs"
    names = [option.text for option in page.find_elements(By.CSS_SELECTOR, "#class option")]
    assert names == ["all", *CLASSES, "none of the classes"]
    choose(page, "class", "1")
    assert (
        text(page, "count")
        == f"{sum(n % 3 == 1 and n % 5 > 0 for n in range(COUNT))} of {COUNT} photographs"
    )
    choose(page, "class", "none")
    assert text(page, "count") == f"{COUNT // 5} of {COUNT} photographs"
    choose(page, "class", "")
    choose(page, "search", "PHOTO_12")
    assert sorted(cards(page)) == [f"photo_12{number}" for number in range(10)]
    choose(page, "search", "no such")
    assert "No photograph matches" in page.find_element(By.TAG_NAME, "main").text


def test_thumbnails_are_loaded_as_one_scrolls(page):
    loaded = "return [...document.images].some(one => one.closest('.card') && one.naturalWidth)"
    wait(page, lambda: page.execute_script(loaded))
    last = page.execute_script("return listed.at(-1).id")
    assert 0 < sum("/thumbs/" in address for address in requested(page)) < 60
    assert len(cards(page)) < 60 and last not in cards(page)
    page.execute_script("scrollTo(0, document.body.scrollHeight)")
    wait(page, lambda: last in cards(page))
    wait(page, lambda: page.execute_script(loaded))
    assert len(cards(page)) < 60
    assert 0 < sum("/thumbs/" in address for address in requested(page)) < 60


@pytest.mark.parametrize("name", STRANGE)
def test_the_pictures_of_strange_ids_are_found(page, name):
    card = search_for(page, name)
    card.find_element(By.TAG_NAME, "a").send_keys(Keys.ENTER)
    wait(page, lambda: page.find_element(By.ID, "detail").is_displayed())
    assert text(page, "detail-id") == name
    images = "return [...document.querySelectorAll('#detail img, .card img')]"
    wait(page, lambda: page.execute_script(f"{images}.every(one => one.complete)"))
    missing = f"{images}.filter(one => !one.naturalWidth).map(one => one.src)"
    assert page.execute_script(missing) == []
    assert len(page.find_elements(By.CSS_SELECTOR, "#film button")) >= 6


def open_first(browser) -> list[str]:
    """Open the first photograph of the list; the ids of the first four."""
    shown = cards(browser)[:4]
    browser.find_element(By.CSS_SELECTOR, ".card[aria-posinset='1'] a").click()
    wait(browser, lambda: text(browser, "detail-id") == shown[0])
    return shown


def test_the_detail_view_is_worked_by_keys(page):
    choose(page, "order", "name")
    first, second = cards(page)[:2]
    page.find_element(By.CSS_SELECTOR, ".card[aria-posinset='1'] a").send_keys(Keys.ENTER)
    wait(page, lambda: text(page, "detail-id") == first)
    press(page, Keys.ARROW_RIGHT)
    wait(page, lambda: text(page, "detail-id") == second)
    press(page, Keys.ARROW_LEFT)
    wait(page, lambda: text(page, "detail-id") == first)
    press(page, "2")
    assert page.find_element(By.CSS_SELECTOR, "#right .name").text == "saliency"
    press(page, "+")
    view = "return document.getElementById('stage').style.getPropertyValue('--view')"
    assert "scale(1.5)" in page.execute_script(view)
    press(page, "0")
    assert "scale(1)" in page.execute_script(view)
    press(page, "x", Keys.ESCAPE)
    wait(page, lambda: not page.find_element(By.ID, "detail").is_displayed())
    assert "excluded" in page.find_element(
        By.CSS_SELECTOR, ".card[aria-posinset='1']"
    ).get_attribute("class")
    page.execute_script("history.back()")
    assert not page.find_element(By.ID, "detail").is_displayed()


def test_the_keys_work_after_clicks(page):
    first, second, third, fourth = open_first(page)
    page.find_elements(By.CSS_SELECTOR, "#film button")[1].click()  # is made anew
    press(page, Keys.ARROW_RIGHT)
    assert text(page, "detail-id") == second
    page.find_element(By.CSS_SELECTOR, "#detail .exclude").click()  # is made anew at the next one
    press(page, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert text(page, "detail-id") == fourth
    for expected in (third, second, first):
        page.find_element(By.ID, "previous").click()  # is disabled at the first one
        assert text(page, "detail-id") == expected
    press(page, Keys.ARROW_RIGHT)
    assert text(page, "detail-id") == second


def test_the_arrows_follow_the_list_that_was_opened(page):
    choose(page, "shown", "rest")
    _, second, third, fourth = open_first(page)
    press(page, "x", Keys.ARROW_RIGHT, "x", Keys.ARROW_RIGHT)
    assert text(page, "detail-id") == third
    press(page, Keys.ARROW_LEFT)
    assert text(page, "detail-id") == second
    press(page, Keys.ESCAPE)
    wait(page, lambda: cards(page)[:2] == [third, fourth])


@pytest.mark.parametrize("steps", [2, 40, COUNT - 1])
def test_the_list_shows_the_photograph_that_was_left(page, steps):
    page.execute_script("location.hash = `#/${link(listed[arguments[0]])}`", steps)
    wait(page, lambda: page.find_element(By.ID, "detail").is_displayed())
    press(page, Keys.ESCAPE)
    focused = "return document.activeElement.closest('.card')?.ariaPosInSet"
    wait(page, lambda: page.execute_script(focused) == str(steps + 1))
    visible = (
        "const box = document.activeElement.getBoundingClientRect();"
        "return box.top > 0 && box.bottom < document.getElementById('bar').offsetTop"
    )
    assert page.execute_script(visible)


def test_another_order_begins_at_the_top(page):
    for name, value in (("order", "name"), ("class", "1"), ("search", "photo")):
        page.execute_script("scrollTo(0, 1000)")
        wait(page, lambda: page.execute_script("return scrollY"))
        choose(page, name, value)
        assert page.execute_script("return scrollY") == 0


def test_the_tab_key_follows_the_places(page):
    places = "return [...document.querySelectorAll('.card')].map(card => +card.ariaPosInSet)"
    shown = page.execute_script(places)
    for position in (4000, 3500, 4200):  # some cards stay
        page.execute_script("scrollTo(0, arguments[0])", position)
        wait(page, lambda before=shown: page.execute_script(places) != before)
        shown = page.execute_script(places)
        assert shown == list(range(shown[0], shown[0] + len(shown)))


def test_a_relabelled_photograph_is_found_under_its_new_class(page):
    choose(page, "class", "0")
    name = cards(page)[0]
    page.find_element(By.CSS_SELECTOR, ".card .relabel").click()
    for box in page.find_elements(By.CSS_SELECTOR, "#boxes input")[:2]:
        box.click()
    page.find_element(By.CSS_SELECTOR, "#relabel .first").click()
    wait(page, lambda: cards(page)[0] != name)
    choose(page, "class", "1")
    search_for(page, name)


def test_the_slider_and_the_wheel_move_the_pictures(page):
    page.find_element(By.CSS_SELECTOR, ".card a").click()
    stage = page.find_element(By.ID, "stage")
    boundary = "return getComputedStyle(document.getElementById('right')).clipPath"
    assert "50%" in page.execute_script(boundary)
    quarter = stage.size["width"] // 4
    actions = ActionChains(page).move_to_element(stage).click_and_hold()
    actions.move_by_offset(quarter, 0).release().perform()
    assert "75" in page.execute_script(boundary)
    slider = page.find_element(By.CSS_SELECTOR, "#stage input")
    slider.send_keys(Keys.HOME)
    assert "0%" in page.execute_script(boundary)
    origin = ScrollOrigin.from_element(stage)
    ActionChains(page).scroll_from_origin(origin, 0, -400).perform()
    wait(page, lambda: "zoomed" in stage.get_attribute("class"))


def test_choices_are_saved_as_corrections(page, tmp_path):
    page.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    assert text(page, "choices") == "1 excluded, 1 relabelled"  # what the run was given
    search_for(page, "a/b#1").find_element(By.CSS_SELECTOR, ".exclude").click()
    search_for(page, "photo_007").find_element(By.CSS_SELECTOR, ".relabel").click()
    boxes = page.find_elements(By.CSS_SELECTOR, "#boxes input")
    for box, is_shown in zip(boxes, (True, False, True), strict=True):
        if box.is_selected() != is_shown:
            box.click()
    page.find_element(By.CSS_SELECTOR, "#relabel .first").click()
    search_for(page, "photo_009").find_element(By.CSS_SELECTOR, ".relabel").click()
    for box in page.find_elements(By.CSS_SELECTOR, "#boxes input:checked"):
        box.click()
    page.find_element(By.CSS_SELECTOR, "#relabel .first").click()
    page.refresh()
    assert text(page, "choices") == "2 excluded, 3 relabelled"
    page.find_element(By.ID, "save").click()
    file = tmp_path / "corrections.json"
    wait(page, file.is_file)
    assert json.loads(file.read_text()) == {
        "i2crc_corrections": 1,
        "exclude": ["a/b#1", EXCLUDED_BEFORE],
        "relabel": {"photo_001": [CLASSES[2]], "photo_007": ["cat", "犬"], "photo_009": []},
    }
    choose(page, "search", "")
    choose(page, "shown", "chosen")
    assert sorted(cards(page)) == ["a/b#1", "photo_001", "photo_007", "photo_009"]
    page.find_element(By.ID, "review").click()
    page.find_element(By.CSS_SELECTOR, f"[aria-label='Undo {EXCLUDED_BEFORE}']").click()
    assert text(page, "choices") == "1 excluded, 3 relabelled"


def test_other_results_begin_without_these_choices(page, gallery, tmp_path):
    page.find_element(By.CSS_SELECTOR, ".card .exclude").click()
    assert text(page, "choices") == "2 excluded, 1 relabelled"
    shutil.copytree(gallery.parent, tmp_path / "gallery")
    page.get((tmp_path / "gallery" / gallery.name).as_uri())
    assert text(page, "choices") == "1 excluded, 1 relabelled"
    page.get(gallery.as_uri())
    assert text(page, "choices") == "2 excluded, 1 relabelled"


def test_names_are_shown_and_not_executed(page, gallery):
    assert page.title == "Gallery of <i>try"
    assert page.find_elements(By.CSS_SELECTOR, "body b") == page.find_elements(
        By.CSS_SELECTOR, "body > header > p > b"
    )
    legend = [item.text for item in page.find_elements(By.CSS_SELECTOR, "#legend li")]
    assert legend == ["background", *CLASSES, "ignored"]
    assert "日本 語" in unquote(gallery.with_name("photos.js").read_text())


def test_nothing_comes_from_the_network_and_nothing_fails(page):
    page.find_element(By.CSS_SELECTOR, ".card a").click()
    addresses = requested(page)
    assert addresses and not [one for one in addresses if not one.startswith(("data:", "file:"))]
    assert page.get_log("browser") == []


def test_it_works_where_the_browser_keeps_nothing(page, gallery):
    forbid = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})"
    page.execute_cdp_cmd("Page.enable", {})
    added = page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": forbid})
    page.get(gallery.as_uri())
    page.find_element(By.CSS_SELECTOR, ".card .exclude").click()
    assert text(page, "choices") == "2 excluded, 1 relabelled"
    page.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_a_second_run_makes_only_what_changed(inputs, gallery, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(inputs, copy)
    assert f"{COUNT} of {COUNT} images were already made" in make(copy)
    manifest = json.loads((copy / "refined.json").read_text())
    manifest["files"]["photo_003.png"] = "another"
    (copy / "refined.json").write_text(json.dumps(manifest))
    content = json.loads((copy / "index.json").read_text())
    content["images"][IDS.index("photo_004")]["classes"] = [0]  # another class, the same pictures
    (copy / "index.json").write_text(json.dumps(content))
    (copy / "cams/photo_004_2.png").rename(copy / "cams/photo_004_0.png")
    maps = (copy / "cams.json").read_text().replace("photo_004_2", "photo_004_0")
    (copy / "cams.json").write_text(maps)
    assert f"{COUNT - 2} of {COUNT} images were already made" in make(copy)


def test_without_masks_there_is_no_iou(inputs, browser, tmp_path):
    shutil.copytree(inputs, tmp_path / "copy", ignore=lambda folder, _: ["gallery"])
    content = json.loads((inputs / "index.json").read_text())
    images = [{**one, "mask": None, "mask_sha256": None} for one in content["images"][:9]]
    (tmp_path / "copy/few.json").write_text(json.dumps({**content, "images": images}))
    (tmp_path / "copy/images.csv").write_text("id,miou_255_as_background,coverage,counts\n")
    make(tmp_path / "copy", "few.json")
    browser.get((tmp_path / "copy/gallery/index.html").as_uri())
    assert text(browser, "count") == "9 photographs"
    orders = [option.text for option in browser.find_elements(By.CSS_SELECTOR, "#order option")]
    assert orders == ["doubt, highest first", "name"]
    titles = [title.text for title in browser.find_elements(By.CSS_SELECTOR, "#titles span")]
    assert titles[:6] == [
        "photograph",
        "saliency",
        "CAM",
        "initial label",
        "refined label",
        "prediction",
    ]
    assert "ground truth" not in titles


def test_the_demo_has_a_gallery(finished, browser):
    browser.get((finished.results / "gallery/index.html").as_uri())
    assert text(browser, "count") == "12 photographs"
    browser.find_element(By.CSS_SELECTOR, ".card a").click()
    images = "return [...document.querySelectorAll('#detail img')]"
    wait(browser, lambda: browser.execute_script(f"{images}.every(one => one.complete)"))
    assert browser.execute_script(f"{images}.filter(one => !one.naturalWidth).length") == 0


def test_a_contact_sheet_is_zoomed_by_the_wheel_after_a_click(finished, browser):
    browser.get((finished.results / "report/sheets/train_worst.html").as_uri())
    assert "After a click" in browser.find_element(By.CSS_SELECTOR, ".caption").text
    stage = browser.find_element(By.CSS_SELECTOR, ".compare")
    origin = ScrollOrigin.from_element(stage)
    ActionChains(browser).scroll_from_origin(origin, 0, 10).perform()
    assert "zoomed" not in stage.get_attribute("class")
    stage.click()
    ActionChains(browser).scroll_from_origin(origin, 0, -400).perform()
    wait(browser, lambda: "zoomed" in stage.get_attribute("class"))


@pytest.mark.parametrize("name", ["gallery/index.html", "report/sheets/train_worst.html"])
def test_scroll_bars_are_dark_in_a_dark_browser(finished, browser, name):
    browser.get((finished.results / name).as_uri())
    scheme = "return getComputedStyle(document.documentElement).colorScheme"
    assert browser.execute_script(scheme) == "light dark"


def test_a_network_trained_on_masks_has_no_gallery(finished):
    on_masks = {"segmentation": {"supervision": "full"}}
    assert "gallery" not in finished.planned("--forceall", "report", settings=on_masks)
