"""`i2crc segment`: what it writes for which photographs, and what it says."""

import csv
import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pycocotools.coco import COCO

from helpers.weights import CLASSES, write_model_file
from i2crc.cli.main import run
from i2crc.cli.segment import batches
from i2crc.config.schema import Dataset
from i2crc.data.build_index import build_index
from i2crc.data.given_photographs import find_photos, name_photos
from i2crc.data.images import read_label, read_photo, resize_nearest
from i2crc.inference.model_file import read_model
from i2crc.inference.prediction import network_label, predict_batch, predict_logits
from i2crc.models.weight_files import read_state, save_state
from i2crc.runtime.errors import InputError

SIZE = (60, 40)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return write_model_file(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture
def photos(tmp_path):
    """Three photographs in two folders, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8)
    for name in ("a.jpg", "b.PNG", "sub/a.jpg"):
        Image.fromarray(noise).save(folder / name)
    (folder / "notes.txt").write_text("no photograph")
    return folder


def segment(model, *words) -> int:
    return run(["segment", str(model), *map(str, words), "--device", "cpu"])


def files(folder) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize(("stage", "options"), [("predictions", []), ("crf", ["--crf"])])
def test_labels_are_those_of_the_stages(finished, tmp_path, capsys, stage, options):
    made = finished.results / stage / "final/val/images"
    names = [file.stem for file in made.iterdir()]
    images = [finished.results / f"dataset/JPEGImages/{name}.jpg" for name in names]
    assert segment(finished.results, *images, *options, "--output", tmp_path) == 0
    assert len(names) == 6 and "6 photographs segmented" in capsys.readouterr().out
    for name in names:
        assert (tmp_path / f"{name}.png").read_bytes() == (made / f"{name}.png").read_bytes()


def test_a_folder_keeps_its_sub_folders(model, photos, tmp_path, capsys):
    output = tmp_path / "out"
    assert segment(model, photos, "--output", output) == 0
    names = ["a", "b", "sub/a"]
    made = [f"{n}{end}" for n in names for end in (".png", "_overlay.jpg")]
    assert files(output) == sorted([*made, "areas.csv"])
    for name in names:
        assert read_label(output / f"{name}.png").shape == SIZE[::-1]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"3 photographs segmented; in {output}: NAME.png, NAME_overlay.jpg, areas.csv"
    assert said[1].split() == ["class", "photographs", "share", "confidence"]


def test_areas_are_those_of_the_labels(model, photos, tmp_path):
    assert segment(model, photos, "--output", tmp_path / "out") == 0
    with open(tmp_path / "out/areas.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {"a.jpg", "b.PNG", "sub/a.jpg"}
    for name in ("a", "b", "sub/a"):
        label = read_label(tmp_path / f"out/{name}.png")
        own = {row["class"]: row for row in rows if row["file"].startswith(name)}
        for value in np.unique(label):
            row = own.pop(["background", *CLASSES][value])
            assert int(row["pixels"]) == (label == value).sum()
            assert float(row["share"]) == pytest.approx((label == value).mean(), abs=1e-6)
            assert 1 / 3 <= float(row["confidence"]) <= 1
        assert not own


def test_a_second_time_the_outputs_are_no_photographs_and_are_overwritten(model, photos):
    output = photos / "labels"
    assert segment(model, photos, "--output", output) == 0
    before = files(output)
    (output / "a.png").write_bytes(b"old")
    assert segment(model, photos, "--output", output) == 0
    assert files(output) == before
    read_label(output / "a.png")


def test_outputs_of_an_earlier_call_are_no_photographs(model, photos):
    assert segment(model, photos, "--output", photos / "first") == 0
    assert segment(model, photos, "--output", photos / "second") == 0
    assert files(photos / "second") == files(photos / "first")


def test_large_and_turned_photographs_are_labelled_as_displayed(model, tmp_path):
    turned = Image.Exif()
    turned[274] = 6
    Image.new("RGB", (300, 200), "gray").save(tmp_path / "a.jpg", exif=turned)
    assert segment(model, tmp_path / "a.jpg", "--output", tmp_path / "out") == 0
    assert read_label(tmp_path / "out/a.png").shape == (300, 200)
    with Image.open(tmp_path / "out/a_overlay.jpg") as overlay:
        assert overlay.height < 64 + 120  # of the working size, with the legend


def test_a_large_photograph_gets_the_label_that_a_run_gives_it(finished, tmp_path):
    model = tmp_path / "model.safetensors"
    state, metadata = read_state(finished.results / model.name)
    save_state(model, state, {**metadata, "max_side": 64})
    (tmp_path / "JPEGImages").mkdir()
    photo = read_photo(min((finished.results / "dataset/JPEGImages").iterdir()))
    photo.resize((300, 200)).save(tmp_path / "JPEGImages/a.jpg")
    (tmp_path / "val_cls.txt").write_text("a\n")
    dataset = Dataset(max_side=64, classes=CLASSES, masks="")
    (entry,) = build_index("val", tmp_path, dataset, tmp_path / "made", 1).images
    network, card = read_model(model, torch.device("cpu"))
    small = np.asarray(read_photo(Path(entry.image)))
    logits = predict_logits(network, small, card.preprocessing).astype(np.float16)
    label = resize_nearest(network_label(logits, small.shape[:2])[0], entry.own_size)
    assert small.shape == (43, 64, 3) and len(np.unique(label)) > 1
    assert segment(model, tmp_path / "JPEGImages", "--output", tmp_path / "out") == 0
    assert np.array_equal(read_label(tmp_path / "out/a.png"), label)


def test_broken_photographs_are_named_and_the_others_are_done(model, photos, tmp_path, capsys):
    (photos / "broken.jpg").write_bytes(b"broken")
    assert segment(model, photos, "--output", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "3 photographs segmented" in said.out
    assert said.err.startswith("1 of 4 photographs failed:\n")
    assert "broken.jpg: cannot be decoded" in said.err
    assert len(files(tmp_path / "out")) == 7


def test_a_photograph_with_an_output_that_is_not_finite_does_not_stop_the_others(
    model, photos, tmp_path, monkeypatch, capsys
):
    """In half precision the output of a photograph may overflow."""

    def predict(network, images, *options):
        outputs = predict_batch(network, images, *options)
        for image, output in zip(images, outputs, strict=True):
            output[:] = np.where(image[0, 0, 0] == 255, np.nan, output)
        return outputs

    Image.new("RGB", SIZE, "white").save(photos / "white.png")
    monkeypatch.setattr("i2crc.inference.model.predict_batch", predict)
    out = tmp_path / "out"
    assert segment(model, photos, "--output", out, "--format", "png,coco", "--batch", "4") == 1
    said = capsys.readouterr()
    assert "3 photographs segmented" in said.out
    assert said.err.startswith("1 of 4 photographs failed:\n")
    assert f"{photos}/white.png: the network's output is not finite" in said.err
    assert len(json.loads((out / "annotations.json").read_text())["images"]) == 3


def test_photographs_of_one_name_have_a_row_and_an_annotation_each(model, photos, tmp_path):
    given = [photos / "a.jpg", photos / "sub/a.jpg"]
    assert segment(model, *given, "--output", tmp_path, "--format", "png,coco") == 0
    with open(tmp_path / "areas.csv", newline="") as file:
        assert {row["file"] for row in csv.DictReader(file)} == {"a.jpg", "sub/a.jpg"}
    images = json.loads((tmp_path / "annotations.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["a.jpg", "sub/a.jpg"]


def test_class_names_do_not_control_the_terminal(photos, tmp_path, capsys):
    names = ["a\x1b[2J", "b\x1b[2J"]
    file = write_model_file(tmp_path / "model.safetensors", classes=names)
    assert segment(file, photos / "a.jpg", "--output", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "no printable text" in said and "\x1b" not in said


def test_photographs_that_would_share_a_name_keep_their_suffix_or_folder(tmp_path):
    paths = ["a.jpg", "a.png", "b.jpg", "c.jpg", "x/c.jpg"]
    for name in paths:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_photos([str(tmp_path / name) for name in paths], tmp_path / "out")
    assert list(name_photos(found)) == ["a.jpg", "a.png", "b", "c", "x/c"]


def test_a_pattern_in_quotes_is_expanded(photos):
    found = find_photos([f"{photos}/**/*.jpg", str(photos / "a.jpg")], photos / "out")
    assert [name for _, name in found] == ["a.jpg", "a.jpg"]
    assert [file for file, _ in found] == [photos / "a.jpg", photos / "sub/a.jpg"]


def test_a_photograph_whose_path_is_the_name_of_another_is_not_lost(tmp_path):
    paths = ["q/b/x.jpg", "b/x.jpg", "c/x.jpg"]
    for name in paths:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    given = [str(tmp_path / name) for name in ("q", *paths[1:])]
    named = name_photos(find_photos(given, tmp_path / "out"))
    assert {name: photo.file for name, photo in named.items()} == {
        name.removesuffix(".jpg"): tmp_path / name for name in paths
    }


def test_names_stay_below_the_output_whatever_leads_to_the_photographs(
    photos, tmp_path, monkeypatch
):
    (tmp_path / "link").symlink_to(photos / "sub")
    monkeypatch.chdir(photos / "sub")
    found = find_photos(["../a.jpg", "a.jpg"], tmp_path / "out")
    assert list(name_photos(found)) == ["a", "sub/a"]
    # What `..` means behind a link is decided by the file system.
    assert find_photos([f"{tmp_path}/link/../a.jpg"], tmp_path) == [(photos / "a.jpg", "a.jpg")]
    assert len(find_photos([".."], tmp_path)) == 3


def test_a_pattern_takes_neither_other_files_nor_earlier_outputs(model, photos):
    names = {"a.jpg", "b.PNG", "sub/a.jpg"}
    assert segment(model, f"{photos}/*", "--output", photos) == 0
    for pattern in ("*", "**/*", "*.*", "**"):
        found = find_photos([f"{photos}/{pattern}"], photos)
        assert {str(file.relative_to(photos)) for file, _ in found} <= names
    with pytest.raises(InputError, match=r"/a\*\.png: no photograph has such a name"):
        find_photos([f"{photos}/a*.png"], photos)


@pytest.mark.parametrize(
    ("form", "own"),
    [
        ("png", "a.png"),
        ("png", "a_overlay.jpg"),
        ("coco", "annotations.json"),
        ("yolo", "labels/a.txt"),
        ("yolo", "data.yaml"),
        ("coco", "areas.csv"),
    ],
)
def test_a_file_of_the_user_is_not_replaced(model, photos, tmp_path, capsys, form, own):
    file = tmp_path / "own" / own
    file.parent.mkdir(parents=True)
    file.write_bytes(b"by hand")
    words = [photos / "a.jpg", "--output", tmp_path / "own", "--format", form]
    assert segment(model, *words) == 1
    problem = "would be replaced, but no earlier call has made it"
    assert f"{file}: {problem}; give another folder with --output" in capsys.readouterr().err
    assert files(tmp_path / "own") == [own] and file.read_bytes() == b"by hand"


def test_a_mask_drawn_beside_the_outputs_is_not_replaced(model, photos, capsys):
    assert segment(model, photos / "b.PNG", "--output", photos / "out") == 0
    (photos / "out/a.png").write_bytes(b"by hand")
    assert segment(model, photos, "--output", photos / "out") == 1
    assert f"{photos}/out/a.png: would be replaced, but" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["png", "coco", "yolo", "png,coco,yolo"])
def test_a_call_that_was_interrupted_can_be_started_again(
    model, photos, tmp_path, monkeypatch, form
):
    def stop(*arguments):
        raise KeyboardInterrupt

    words = [photos, "--output", tmp_path / "out", "--format", form]
    with monkeypatch.context() as patch:
        patch.setattr("i2crc.cli.segment.summary", stop)
        with pytest.raises(KeyboardInterrupt):
            segment(model, *words)
    (tmp_path / "out/a.png").unlink(missing_ok=True)  # as if between overlay and label
    assert segment(model, *words) == 0


def test_a_name_too_long_for_its_files_is_named_and_the_others_are_done(
    model, photos, tmp_path, capsys
):
    long = photos / f"{'n' * 245}.jpg"
    (photos / "a.jpg").rename(long)
    assert segment(model, photos, "--output", tmp_path / "out", "--format", "png,coco") == 1
    said = capsys.readouterr()
    assert "2 photographs segmented" in said.out
    remedy = "rename it, or give another folder with --output"
    assert f"{long}: its files cannot be written (File name too long); {remedy}" in said.err
    made = files(tmp_path / "out")
    assert {"annotations.json", "areas.csv", "sub/a.png"} <= {*made} and len(made) == 6


def test_a_full_disk_ends_the_call(model, photos, tmp_path, monkeypatch, capsys):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device", "a.png")

    monkeypatch.setattr("i2crc.data.images.write_label", full)
    assert segment(model, photos, "--output", tmp_path / "out") == 1
    assert "a.png: no space is left" in capsys.readouterr().err


def test_a_format_that_is_given_twice_counts_once(model, photos, tmp_path, capsys):
    words = ["--output", tmp_path / "out", "--format", "png,png"]
    assert segment(model, photos / "a.jpg", *words) == 0
    assert ": NAME.png, NAME_overlay.jpg, areas.csv\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["MODEL", "none.jpg", "--output", "out"], "none.jpg: no such file; give photographs"),
        (["MODEL", "empty", "--output", "out"], "empty: no photograph in this folder; give"),
        (["MODEL", "*.tif", "--output", "out"], "*.tif: no photograph has such a name; give"),
        (["MODEL", "n" * 300, "--output", "out"], "nnn: no such file; give"),
        (["none", "photos", "--output", "out"], "none: no such file; give the model file"),
        (["empty", "photos", "--output", "out"], "empty: holds no model.safetensors; give"),
        (["MODEL", "photos", "--output", "out", "--scales", "9"], "scale 9, expected a number"),
        (["photos/b.PNG", "photos", "--output", "out"], "b.PNG: not a model file; give"),
        (["MODEL", "photos", "--output", "photos"], "photos: holds the photographs, which"),
        (["MODEL", "photos", "--output", "photos/a.jpg"], "a.jpg: a file, no folder; give"),
        (["MODEL", "c.png", "--output", "."], "c.png: would be replaced by its own label; give"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    model, photos, tmp_path, monkeypatch, capsys, words, message
):
    (tmp_path / "empty").mkdir()
    Image.new("RGB", SIZE).save(tmp_path / "c.png")
    monkeypatch.chdir(tmp_path)
    assert segment(*(model if word == "MODEL" else word for word in words)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("i2crc segment: ") and message in line


def test_an_output_that_cannot_be_written_is_said_before_anything(
    model, photos, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path / "out")
    assert segment(model, photos, "--output", tmp_path / "out") == 1
    assert f"{tmp_path}/out: cannot be written to; give another folder" in capsys.readouterr().err


def test_cuda_without_a_gpu_is_said(model, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ["segment", str(model), str(photos), "--output", str(tmp_path), "--device", "cuda"]
    assert run(words) == 1
    assert "device cuda: torch finds no GPU" in capsys.readouterr().err


def test_batches_hold_photographs_of_one_size():
    sizes = {"a": (4, 3), "b": (3, 4), "c": (4, 3), "d": (4, 3), "e": (3, 4)}
    assert list(batches(sizes, 2)) == [["a", "c"], ["b", "e"], ["d"]]
    assert list(batches(sizes, 1)) == [["a"], ["b"], ["c"], ["d"], ["e"]]


def test_a_batch_changes_no_label(model, photos, tmp_path):
    Image.new("RGB", (9, 70), "red").save(photos / "narrow.png")
    (photos / "broken.jpg").write_bytes(b"broken")
    for count in (1, 3):
        words = ["--output", tmp_path / str(count), "--batch", count, "--scales", 0.5, 1, "--flip"]
        assert segment(model, photos, *words) == 1
    alone, together = tmp_path / "1", tmp_path / "3"
    assert files(alone) == files(together)
    for file in alone.rglob("*.png"):
        assert file.read_bytes() == (together / file.relative_to(alone)).read_bytes()


def test_annotations_of_coco_and_yolo_hold_the_label(finished, tmp_path):
    photos = finished.results / "dataset/JPEGImages"
    words = ["--output", tmp_path, "--format", "coco,yolo,png"]
    assert segment(finished.results, f"{photos}/demo_val_*.jpg", *words) == 0
    coco = COCO(tmp_path / "annotations.json")
    assert len(coco.imgs) == 6
    assert yaml.safe_load((tmp_path / "data.yaml").read_text())["names"][0] == coco.cats[1]["name"]
    for number, image in coco.imgs.items():
        name = Path(image["file_name"]).stem
        label = read_label(tmp_path / f"{name}.png")
        drawn = np.zeros_like(label)
        regions = coco.loadAnns(coco.getAnnIds(number))
        for region in regions:
            drawn[coco.annToMask(region) > 0] = region["category_id"]
        assert np.array_equal(drawn, label)
        lines = (tmp_path / f"labels/{name}.txt").read_text().splitlines()
        assert len(lines) == len(regions)
        assert {int(line.split()[0]) + 1 for line in lines} == {*np.unique(label)} - {0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "png,voc"], "argument --format: 'voc'; give one or more of png,coco,yolo"),
        (["--batch", "0"], "argument --batch: '0'; give a number of photographs, at least 1"),
        (["--scales", "1", "a.jpg"], "'a.jpg' is no number; give the photographs before --scales"),
    ],
)
def test_a_wrong_option_is_said(model, capsys, words, message):
    with pytest.raises(SystemExit):
        run(["segment", str(model), "a.jpg", "--output", "out", *words])
    assert message in capsys.readouterr().err
