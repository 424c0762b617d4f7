"""What is seen in somebody's folder, and what is said to be wrong with it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.drawn import SIZE, draw_class_folders, draw_mask, draw_photo
from i2crc.config.choices import Machine, choose, nested
from i2crc.config.load import load_config
from i2crc.data.images import write_label
from i2crc.data.recognise import recognise
from i2crc.evaluation.survey import Survey, describe, survey
from i2crc.runtime.errors import InputError


@pytest.fixture
def root(tmp_path):
    """Six photographs of cats and of dogs."""
    draw_class_folders(tmp_path / "photos", ["cat", "dog"], 6)
    return tmp_path / "photos"


def settings(found: Survey) -> dict:
    return {choice.key: choice.value for choice in found.choices}


def wrong(root) -> str:
    """The one sentence on what is wrong."""
    (text,) = survey(recognise(root), 2).wrong
    return text


def test_a_folder_for_each_class(root):
    draw_photo(root / "_none" / "wall.JPG", 77)
    found = survey(recognise(root), 2)
    assert (found.wrong, found.problems) == ([], [])
    assert settings(found)["dataset.format"] == "folders"
    assert found.counts().classes == [6, 6]
    text = "\n".join(describe(found))
    assert "13 photographs" in text and "cat (6), dog (6)" in text
    assert "1 show none of the classes" in text
    assert "12 .png, 1 .jpg" in text and "48x32" in text
    assert "masks: none" in text and "saliency maps: none, they are computed" in text


def test_folders_of_splits_are_no_classes(tmp_path):
    draw_class_folders(tmp_path / "train", ["cat", "dog"], 5)
    draw_photo(tmp_path / "val" / "cat" / "1.png", 500)
    draw_photo(tmp_path / "val" / "dog" / "1.png", 501)
    found = survey(recognise(tmp_path), 2)
    assert {split: len(rows) for split, rows in found.listed.splits.items()} == {
        "train": 10,
        "val": 2,
    }
    assert found.listed.classes == ["cat", "dog"]


@pytest.mark.parametrize(
    ("names", "lists"),
    [
        (["Training", "Testing"], {"train": "Training"}),
        (["train", "dev"], {"train": "train", "val": "dev"}),
        (["train", "dev", "eval", "val"], {"train": "train", "val": "val"}),
        (["train_set", "test-set", "valset"], {"train": "train_set", "val": "valset"}),
        (["train", "val", "_none"], {"train": "train", "val": "val"}),
    ],
)
def test_the_names_of_folders_of_splits(tmp_path, names, lists):
    for number, split in enumerate(names):
        for name in ("cat", "dog"):
            draw_photo(tmp_path / split / name / "1.png", 10 * number + len(split + name))
    said = settings(survey(recognise(tmp_path), 2))
    found = {key: said.get(f"dataset.{key}_list") for key in ("train", "val")}
    assert {key: value for key, value in found.items() if value} == lists


@pytest.mark.parametrize(
    ("names", "said"), [(["train", "unlabelled"], "train"), (["cat", "dog", "test"], "test"),
                        (["cat", "train"], "")]
)  # fmt: skip
def test_the_name_of_a_split_among_classes(tmp_path, names, said):
    draw_class_folders(tmp_path, names, 5)
    if said == "train":  # with folders in it, it is hardly a vehicle
        (tmp_path / "train/cat").mkdir()
        shutil.move(tmp_path / "train/IMG 0.png", tmp_path / "train/cat")
    texts = survey(recognise(tmp_path), 2).wrong
    assert bool(texts) == bool(said)
    assert all(f"names of splits count as classes ({said}): if they" in text for text in texts)


def test_photographs_in_a_folder_of_their_own_with_masks_and_maps_beside_it(root):
    images = root.parent / "all" / "images"
    images.parent.mkdir()
    root.rename(images)
    for name in ("cat", "dog"):
        for number in range(6):
            draw_mask(images.parent / "truth" / name / f"IMG {number}_m.png", 1 + (name == "dog"))
            levels = np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE[::-1])
            place = images.parent / "sal" / name / f"IMG {number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(levels).save(place)
    found = survey(recognise(images.parent), 2)
    assert found.wrong == [] and found.problems == []
    said = settings(found)
    assert said["dataset.images"] == "images" and said["dataset.masks"] == "truth"
    assert said["dataset.mask_pattern"] == "{id}_m.png"
    assert said["saliency.location"].endswith("all/sal")
    assert (found.masks, found.maps) == (12, 12)
    assert said["dataset.trusted_masks"] == ""  # what to set is in its reason
    assert "masks: 12, to score (dataset.trusted_masks: to learn from, too)" in describe(found)


def test_a_folder_of_masks_beside_the_photographs_folder(root):
    for name in ("cat", "dog"):
        draw_mask(root.parent / "photos_masks" / name / "IMG 0.png", 1 + (name == "dog"))
    assert settings(survey(recognise(root), 2))["dataset.masks"] == "../photos_masks"


def test_classes_whose_names_speak_of_masks(tmp_path):
    draw_class_folders(tmp_path, ["with_mask", "without_mask"], 5)
    found = survey(recognise(tmp_path), 2)
    assert (found.wrong, found.problems) == ([], [])
    assert found.listed.classes == ["with_mask", "without_mask"]


def test_photographs_that_nothing_is_said_of(tmp_path):
    draw_photo(tmp_path / "1.png", 1)
    with pytest.raises(InputError, match="1 photograph, but nothing says what they show; put"):
        survey(recognise(tmp_path), 1)
    (tmp_path / "images").mkdir()
    shutil.move(tmp_path / "1.png", tmp_path / "images")
    with pytest.raises(InputError, match="nothing says what they show"):
        survey(recognise(tmp_path), 1)


def test_no_photographs(tmp_path):
    with pytest.raises(InputError, match="no photograph in it or below it; give the folder"):
        survey(recognise(tmp_path), 1)
    with pytest.raises(InputError, match="no such folder; give the folder"):
        survey(recognise(tmp_path / "nothing"), 1)
    (tmp_path / "labels.csv").touch()
    with pytest.raises(InputError, match=r"labels\.csv: is a file; give the folder that your"):
        recognise(tmp_path / "labels.csv")


def test_masks_of_0_and_255(root):
    for name in ("cat", "dog"):
        for number in range(6):
            draw_mask(root / "masks" / name / f"IMG {number}.png", 255)
    found = survey(recognise(root), 2)
    assert settings(found)["dataset.binary_masks"] is True
    (text,) = found.wrong
    assert "the masks hold 0 and 255, so they do not say which class an object has" in text
    assert "the configuration sets dataset.binary_masks: true" in text
    assert (found.problems, found.masks) == ([], 12)


def test_masks_whose_names_are_not_those_of_photographs(root):
    draw_mask(root / "masks" / "other.png", 1)
    found = survey(recognise(root), 2)
    assert any(
        "seems to hold masks, but its files (other.png) do not have" in t for t in found.wrong
    )


@pytest.mark.parametrize("name", ["New folder", "misc", "unsorted (2)", "Screenshots"])
def test_a_folder_of_stray_files_as_a_class(root, name):
    for number in range(5):
        draw_photo(root / name / f"{number}.png", 90 + number)
    text = wrong(root)
    assert f"{name}: looks like a folder of stray files, but counts as a class" in text
    assert "move it elsewhere, or call it _none" in text


def test_a_class_with_few_photographs(root):
    draw_photo(root / "cow" / "1.png", 99)
    assert wrong(root).startswith("fewer than 5 photographs to train of cow (1): too few to learn")


def test_one_class_alone(tmp_path):
    draw_class_folders(tmp_path, ["cat"], 5)
    assert "put some into a folder _none" in wrong(tmp_path)


def test_one_photograph_in_two_classes(root):
    shutil.copy(root / "cat" / "IMG 0.png", root / "dog" / "same.png")
    assert "in the folders of several classes (cat/IMG 0.png = dog/same.png)" in wrong(root)


def test_near_duplicates_with_different_classes(root):
    photo = Image.open(root / "cat" / "IMG 0.png")
    photo.resize((96, 64)).save(root / "dog" / "larger.jpg")
    text = wrong(root)
    assert "(cat/IMG 0: cat = dog/larger: dog)" in text or "(dog/larger: dog = cat/IMG 0" in text
    assert "delete the copies with the wrong class" in text


def test_near_duplicates_in_train_and_val(tmp_path):
    draw_class_folders(tmp_path / "train", ["cat", "dog"], 5)
    (tmp_path / "val" / "cat").mkdir(parents=True)
    photo = Image.open(tmp_path / "train" / "cat" / "IMG 0.png")
    photo.resize((96, 64)).save(tmp_path / "val" / "cat" / "larger.png")
    assert "is in train and in val" in wrong(tmp_path)


def test_constant_saliency_is_computed_instead(root):
    for name in ("cat", "dog"):
        for number in range(6):
            draw_mask(root / "saliency" / name / f"IMG {number}.png", 0)
    found = survey(recognise(root), 2)
    (text,) = found.wrong
    assert "12 of 12 maps show no object; the configuration computes all maps" in text
    assert settings(found)["saliency.source"] == "model" and found.maps == 0


def test_saliency_of_some_photographs_is_computed_instead(root):
    draw_mask(root / "saliency" / "cat" / "IMG 0.png", 200)
    assert "11 maps cannot be used (" in wrong(root)


def test_a_broken_file_is_a_problem(root):
    (root / "cat" / "broken.jpg").write_bytes(b"no photograph")
    found = survey(recognise(root), 2)
    (problem,) = found.problems
    assert problem.file.endswith("broken.jpg") and "cannot be decoded" in problem.problem
    assert found.counts().train == 13


def test_of_many_photographs_a_sample_is_decoded(root, monkeypatch):
    monkeypatch.setattr("i2crc.evaluation.survey.MOST_DECODED", 5)
    found = survey(recognise(root), 2)
    assert (found.decoded, len(found.entries)) == (4, 4)
    assert "a sample of 4 photographs was decoded to see this" in describe(found)
    assert found.counts().train == 12


def test_a_table_in_the_folder(tmp_path):
    for number in range(10):
        draw_photo(tmp_path / "images" / f"{number:03} ä.png", number)
    lines = [f"{n:03} ä.png;{'cat' if n % 2 else 'sea lion'}" for n in range(10)]
    (tmp_path / "tags.csv").write_text("\n".join(["file;labels", *lines]))
    found = survey(recognise(tmp_path), 2)
    assert (found.wrong, found.problems) == ([], [])
    assert settings(found)["dataset.format"] == "csv"
    assert settings(found)["dataset.train_list"] == "tags.csv"
    assert sorted(found.listed.classes) == ["cat", "sea lion"]


def test_a_coco_file_in_the_folder(tmp_path):
    box = [[1, 1, 20, 1, 20, 20, 1, 20]]
    for split, count in (("train", 10), ("val", 4)):
        for number in range(count):
            draw_photo(tmp_path / split / f"{number}.png", number + 100 * count)
        content = {
            "images": [
                {"id": n, "file_name": f"{split}/{n}.png", "width": SIZE[0], "height": SIZE[1]}
                for n in range(count)
            ],
            "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 7 + 2 * (n % 2), "segmentation": box,
                 "bbox": [1, 1, 19, 19], "area": 361, "iscrowd": 0}
                for n in range(count)
            ],
        }  # fmt: skip
        (tmp_path / f"instances_{split}.json").write_text(json.dumps(content))
    found = survey(recognise(tmp_path), 2)
    assert (found.wrong, found.problems) == ([], [])
    assert settings(found)["dataset.format"] == "coco"
    assert settings(found)["dataset.val_list"] == "instances_val.json"
    assert found.counts().classes == [5, 5]


def test_of_two_coco_files_of_a_split_the_one_that_is_not_used_is_named(tmp_path):
    for number in range(10):
        draw_photo(tmp_path / f"{number}.png", number)
    for batch in (0, 1):
        own = range(5 * batch, 5 * batch + 5)
        content = {
            "images": [{"id": n, "file_name": f"{n}.png"} for n in own],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            "annotations": [{"image_id": n, "category_id": 1 + n % 2} for n in own],
        }
        (tmp_path / f"batch{batch}.json").write_text(json.dumps(content))
    wrong = "".join(recognise(tmp_path).wrong)
    assert "batch1.json: not used: batch0.json is used, too, as the annotations of train" in wrong


def test_a_coco_file_in_the_folder_of_each_split(tmp_path):
    """As Roboflow exports them; the splits share names of files."""
    for number, split in enumerate(["train", "valid", "test"]):
        for photo in range(10):
            draw_photo(tmp_path / split / f"{photo}.png", 100 * number + photo)
        content = {
            "images": [{"id": n, "file_name": f"{n}.png"} for n in range(10)],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            "annotations": [{"image_id": n, "category_id": 1 + n % 2} for n in range(10)],
        }
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(content))
    found = survey(recognise(tmp_path), 2)
    assert found.problems == []
    assert settings(found)["dataset.format"] == "coco"
    assert settings(found)["dataset.train_list"] == "train/_annotations.coco.json"
    assert settings(found)["dataset.val_list"] == "valid/_annotations.coco.json"
    assert found.counts().classes == [5, 5]
    assert {row.id.partition("/")[0] for row in found.listed.splits["val"]} == {"valid"}
    assert "test/0.png" in "".join(found.wrong)


@pytest.mark.parametrize(
    ("folders", "lists"), [([""], (".", None)), (["x/a", "x/b"], ("x", None)),
                           (["train", "test"], ("train", None)),
                           (["in/train", "in/val"], ("in/train", "in/val"))]
)  # fmt: skip
def test_xml_files_beside_the_photographs(tmp_path, folders, lists):
    for place, folder in enumerate(folders):
        for number in range(10):
            draw_photo(tmp_path / folder / f"{number}.jpg", 10 * place + number)
            name = "cat" if number % 2 else "dog"
            (tmp_path / folder / f"{number}.xml").write_text(
                f"<annotation><object><name>{name}</name></object></annotation>"
            )
    found = survey(recognise(tmp_path), 2)
    said = settings(found)
    assert said["dataset.format"] == "voc-xml" and found.problems == []
    assert (said["dataset.train_list"], said.get("dataset.val_list")) == lists
    assert set(found.counts().classes) == {10 if folders[0] == "x/a" else 5}


def test_other_xml_files_beside_photographs_are_no_labels(root):
    (root / "cat/IMG 1.xml").write_text("<metadata/>")
    assert settings(survey(recognise(root), 2))["dataset.format"] == "folders"


def test_an_xml_file_for_each_photograph(tmp_path):
    (tmp_path / "Annotations").mkdir()
    for number in range(10):
        draw_photo(tmp_path / "JPEGImages" / f"{number}.jpg", number)
        name = "cat" if number % 2 else "dog"
        (tmp_path / "Annotations" / f"{number}.xml").write_text(
            f"<annotation><filename>{number}.jpg</filename><object><name>{name}</name></object>"
            "</annotation>"
        )
    found = survey(recognise(tmp_path), 2)
    assert (found.wrong, found.problems) == ([], [])
    assert settings(found)["dataset.format"] == "voc-xml"
    assert found.counts().classes == [5, 5]
    lists = tmp_path / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n2\n3\n")
    (lists / "val.txt").write_text("4\n5\n")
    assert (survey(recognise(tmp_path), 2).counts().train) == 4


def test_lists_as_voc_has_them(tmp_path):
    for number in range(10):
        draw_photo(tmp_path / "JPEGImages" / f"{number}.jpg", number)
    (tmp_path / "train_cls.txt").write_text("".join(f"{n} {n % 2}\n" for n in range(10)))
    found = survey(recognise(tmp_path), 2)
    assert "classes are called class 0, class 1" in found.wrong[0]
    said = settings(found)
    assert said["dataset.val_list"] == said["dataset.masks"] == ""
    assert found.config.dataset.splits == ["train"]


def test_a_number_of_a_class_that_cannot_be_is_refused(tmp_path):
    draw_photo(tmp_path / "JPEGImages" / "a.jpg", 0)
    (tmp_path / "train_cls.txt").write_text("a 3000000\n")
    with pytest.raises(InputError, match=r"train_cls.txt: class 3000000; there are 254 at most"):
        recognise(tmp_path)


@pytest.mark.parametrize("words", [("cat", "dog"), ("cat", "0")])
def test_short_names_of_classes_in_the_lists_of_voc(tmp_path, words):
    for number in range(10):
        draw_photo(tmp_path / "JPEGImages" / f"{number}.jpg", number)
    (tmp_path / "train_cls.txt").write_text("".join(f"{n} {words[n % 2]}\n" for n in range(10)))
    names = [word for word in words if word != "0"]
    assert settings(survey(recognise(tmp_path), 2))["dataset.classes"] == names


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_without_a_photograph_to_train_on_the_problems_are_said(tmp_path, kind):
    draw_photo(tmp_path / "JPEGImages" / "1.jpg", 1)
    if kind == "coco":
        for split, number in (("train", 0), ("val", 1)):
            content = {
                "images": [{"id": 1, "file_name": f"{number}.jpg"}],
                "categories": [{"id": 7, "name": "cat"}],
                "annotations": [{"image_id": 1, "category_id": 7}],
            }
            (tmp_path / f"instances_{split}.json").write_text(json.dumps(content))
    else:
        (tmp_path / "classes.txt").write_text("cat\n")
        (tmp_path / "train_cls.txt").touch()
        (tmp_path / "val_cls.txt").write_text("1 cat\n")
    said = "no photograph '0.jpg' below" if kind == "coco" else "train_cls.txt: lists no image"
    with pytest.raises(InputError, match=said) as error:
        survey(recognise(tmp_path), 2)
    assert "no photograph with a class to train on;" in str(error.value)


def test_results_in_the_folder_of_the_photographs_are_no_photographs(root, monkeypatch):
    draw_photo(root / "results" / "mine" / "predictions" / "cat" / "IMG 1.png", 99)
    monkeypatch.chdir(root)
    found = survey(recognise(Path()), 2)
    assert (found.listed.classes, len(found.rows)) == (["cat", "dog"], 12)


def test_maps_in_the_folder_of_the_photographs_are_no_photographs(root):
    for name in ("cat", "dog"):
        for number in range(6):
            grey = np.add.outer(np.arange(SIZE[1]), np.arange(SIZE[0])).astype(np.uint8)
            place = root / "saliency_maps" / name / f"IMG {number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey).save(place)
    found = survey(recognise(root), 2)
    assert settings(found)["saliency.location"] == str(root / "saliency_maps")
    assert (found.listed.classes, len(found.rows)) == (["cat", "dog"], 12)


def segment(root: Path, output: Path, name: str, value: int) -> None:
    """Write what `i2crc segment` makes of a photograph."""
    size = Image.open(root / f"{name}.png").size
    write_label(output / f"{name}.png", np.full(size[::-1], value, np.uint8))
    draw_photo(output / f"{name}_overlay.jpg", 7, (SIZE[0], 2 * SIZE[1]))


def test_own_predictions_are_neither_masks_nor_photographs(root):
    for name, value in (("cat", 1), ("dog", 2)):
        for number in range(6):
            segment(root, root / "predicted", f"{name}/IMG {number}", value)
    said = "outputs of I2CRC (predicted/cat/IMG 0.png, predicted/cat/IMG 0_overlay.jpg"
    for folder in ("predicted", "segmented"):  # by its name, this one may hold masks
        found = survey(recognise(root), 2)
        assert (found.wrong, found.problems, found.masks) == ([], [], 0)
        assert found.listed.classes == ["cat", "dog"] and len(found.rows) == 12
        assert any(said in line and line.endswith("are ignored") for line in describe(found))
        if folder == "predicted":
            (root / "predicted").rename(root / "segmented")
            said = said.replace("predicted", "segmented")


def test_own_predictions_in_the_folder_of_a_class_are_no_photographs(root):
    for number in range(6):
        (root / "cat" / f"IMG {number}.png").rename(root / "cat" / f"IMG {number}.jpg")
        write_label(root / "cat" / f"IMG {number}.png", np.zeros(SIZE[::-1], np.uint8))
        draw_photo(root / "cat" / f"IMG {number}_overlay.jpg", number)
    found = survey(recognise(root), 2)
    assert (found.counts().classes, found.wrong) == ([6, 6], [])


@pytest.mark.parametrize("name", ["masks/IMG {}.png", "IMG {}_mask.png", "mask_IMG {}.png"])
def test_masks_in_the_folder_of_a_class_are_no_photographs(root, name):
    for number in range(6):
        draw_mask(root / "cat" / name.format(number), 255)
    (root / "cat" / "IMG 5.png").write_bytes(b"broken")  # its mask is not known to be one
    draw_photo(root / "dog" / "IMG 1_mask.png", 55)  # a photograph of somebody with a mask
    (text,) = (text for text in survey(recognise(root), 2).wrong if "left out" in text)
    assert "5 files in class folders left out, because each is grey or has few colours" in text
    assert "as masks/CLASS/NAME.png, to score with them" in text
    found = survey(recognise(root), 2)
    assert found.counts().classes == [7, 7] and len(found.problems) == 1


def test_results_of_a_run_that_were_copied_are_no_photographs(root):
    draw_photo(root / "results_s1" / "cams" / "IMG 0.png", 70)
    (root / "results_s1" / "logs").mkdir()
    for name in ("config.yaml", ".lock"):
        (root / "results_s1" / name).touch()
    found = survey(recognise(root), 2)
    assert found.listed.classes == ["cat", "dog"] and found.wrong == []
    assert any("outputs of I2CRC (results_s1) are no" in line for line in describe(found))


@pytest.mark.parametrize("folder", ["cat", "masks", ""])
def test_a_folder_that_cannot_be_read_is_named(root, folder, monkeypatch):
    """Root reads every folder, so the answer of the system is made."""
    draw_mask(root / "masks" / "cat" / "IMG 0.png", 1)
    closed = root / folder
    monkeypatch.setattr("i2crc.data.photographs.os.access", lambda path, mode: path != closed)
    with pytest.raises(InputError) as caught:
        survey(recognise(root), 2)
    assert f"{closed}: no permission to read this folder; make it readable" in str(caught.value)


@pytest.mark.parametrize("name", ["None", "negative", "__background__"])
def test_a_folder_that_is_called_none_holds_negatives(root, name):
    draw_photo(root / name / "wall.png", 77)
    found = survey(recognise(root), 2)
    assert found.listed.classes == ["cat", "dog"] and found.wrong == []
    assert "1 show none of the classes" in "\n".join(describe(found))


@pytest.mark.parametrize(
    ("place", "begin"),
    [
        ("labels.csv", "photos/"), ("labels.csv", ""), ("labels.csv", "./data/photos/"),
        ("labels.csv", "C:\\me\\photos\\"), ("photos/labels.csv", ""),
        ("photos/labels.csv", "../photos/"),
    ],
)  # fmt: skip
def test_names_in_a_table_begin_anywhere(tmp_path, place, begin):
    """Relative to the table, to the photographs' folder, to another folder; in sub-folders."""
    names = [f"{folder}/{n}.png" for folder in ("trip 1", "trip 2") for n in range(5)]
    for number, name in enumerate(names):
        draw_photo(tmp_path / "photos" / name, number)
    lines = [f"{begin}{name};{'cat' if n % 2 else 'dog'}" for n, name in enumerate(names)]
    (tmp_path / place).write_text("\n".join(["file;labels", *lines]))
    found = survey(recognise(tmp_path), 2)
    assert (found.wrong, found.problems) == ([], [])
    assert (found.listed.classes, len(found.rows)) == (["cat", "dog"], 10)
    said = settings(found)
    assert (said["dataset.images"], said["dataset.train_list"]) == ("photos", place)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("labels.csv", b"file;labels\n1;cat\n2;dog\n", "none of its rows names a photograph"),
        ("labels.csv", b"file;labels\n1;cat\n2;dog\n", "('2'); '002.png' is there: correct"),
        ("labels.csv", "file;labels\n001;K\xe4fer\n".encode("latin-1"), "not UTF-8"),
        ("labels.csv", b"file,cat,dog\n001.png,1,0\n", "its heading has no column `labels`"),
        ("labels.csv", b'"file";"labels"\n"x.png";"cat"\n', "names a photograph below"),
        ("a.json", b'{"images": [', "not valid JSON"),
        ("a.json", b'{"images": []}', "has no list `categories`"),
    ],
)  # fmt: skip
def test_why_labels_are_not_used_is_said(root, name, text, said):
    for number in range(3):
        draw_photo(root.parent / "flat" / f"00{number}.png", number)
    (root.parent / "flat" / name).write_bytes(text)
    with pytest.raises(InputError) as error:
        recognise(root.parent / "flat")
    assert "3 photographs, but their labels cannot be used; correct them:\n" in str(error.value)
    assert f"{name}:" in str(error.value) and ": not used: " in str(error.value)
    assert said in str(error.value)
    (root / name).write_bytes(text)
    assert f"{root / name}: not used: " in wrong(root)


def test_another_table_is_named(root):
    for name in ("labels.csv", "more.csv"):
        (root / name).write_text("file,labels\ncat/IMG 1.png,cat\n")
    (text,) = recognise(root).wrong
    assert "more.csv: not used: labels.csv is used, too, as the table of train; put all" in text


@pytest.mark.parametrize(("count", "share"), [(10, 0.2), (8, 0)])
def test_masks_of_val_are_scored_if_a_fifth_can_be_spared(tmp_path, count, share):
    box = [[1, 1, 20, 1, 20, 20, 1, 20]]
    for number in range(count):
        draw_photo(tmp_path / "images" / f"{number}.png", number)
    content = {
        "images": [{"id": n, "file_name": f"images/{n}.png"} for n in range(count)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"image_id": n, "category_id": 1 + n % 2, "segmentation": box, "area": 361}
            for n in range(count)
        ],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    found = survey(recognise(tmp_path), 2)
    choices = choose(found.counts(), Machine(2, 8 * 10**9), found.can_draw)
    found.config = load_config(nested([*found.choices, *choices]), "test")
    assert found.config.dataset.val_share == share
    text = "those of val are scored" if share else "nothing is scored: they could score val alone"
    assert any(f"masks: {count}, " in line and text in line for line in describe(found))
