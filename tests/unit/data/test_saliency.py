"""Gathering saliency maps, and the stage download_saliency from end to end."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import asdict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2crc.artifacts.journal import FileRecord
from i2crc.artifacts.stages import STAGES
from i2crc.data.images import write_label
from i2crc.data.index import Entry, Index
from i2crc.data.saliency import ADD_MAP, collect
from i2crc.runtime.atomic import digest_file, write_json
from i2crc.runtime.errors import Problem

SCRIPT = Path(__file__).parents[3] / "workflow_scripts" / STAGES["download_saliency"].script
SIZE = (6, 4)
GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


class Place:
    """A folder with photographs, their index and a source of maps."""

    def __init__(self, root: Path):
        self.root = root
        self.source = root / "source"
        self.destination = root / "saliency" / "maps"
        self.manifest = root / "saliency" / "manifest.json"
        self.sizes: dict[str, list[tuple[int, int]]] = {}
        (self.source / "top").mkdir(parents=True)

    def photograph(self, name: str, *sizes: tuple[int, int]) -> None:
        """The map of a photograph gets the first size, and may have the others."""
        self.sizes[name] = [*sizes] or [SIZE]

    def map(self, name: str, image: Image.Image | None = None, folder: str = "top", **save) -> Path:
        path = self.source / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (image or Image.fromarray(GREY)).save(path, **{"format": "PNG"} | save)
        return path

    def collect(self) -> dict[str, FileRecord]:
        """The records of the maps, none of which has a problem."""
        files, problems, _ = collect(self.source, self.sizes, self.destination, workers=2)
        assert not problems
        return files

    def placed(self, name: str) -> np.ndarray:
        with Image.open(self.destination / f"{name}.png") as image:
            assert (image.mode, image.format) == ("L", "PNG")
            return np.asarray(image)

    def problem(self, **options) -> str:
        """The one problem, without the folder."""
        files, (problem,), _ = collect(self.source, self.sizes, self.destination, **options)
        assert len(files) == len(self.sizes) - 1
        return str(problem).removeprefix(f"{self.source}/")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_grey_png_is_copied_byte_for_byte(place):
    for name in ("b", "a.1"):
        place.photograph(name)
        source = place.map(name)
    place.map("unasked")
    files = place.collect()
    assert list(files) == ["a.1.png", "b.png"]
    for name, record in files.items():
        data = (place.destination / name).read_bytes()
        assert record == FileRecord(hashlib.sha256(data).hexdigest(), len(data))
    assert data == source.read_bytes()
    assert {path.name for path in place.destination.iterdir()} == {"a.1.png", "b.png"}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_in_another_mode_is_converted(place, mode):
    place.photograph("a")
    place.map("a", Image.fromarray(GREY).convert(mode))
    place.collect()
    assert np.array_equal(place.placed("a"), GREY)


def test_grey_palette_gives_the_colours_not_the_indices(place):
    place.photograph("a")
    image = Image.fromarray(GREY // 10).copy()
    image.putpalette([255 - value // 3 for value in range(768)])
    place.map("a", image)
    place.collect()
    assert np.array_equal(place.placed("a"), 255 - GREY // 10)


def test_bilevel_map(place):
    place.photograph("a")
    place.map("a", Image.fromarray(GREY > 100))
    place.collect()
    assert np.array_equal(place.placed("a"), np.where(GREY > 100, 255, 0))


def test_jpeg_under_the_name_of_a_png_becomes_a_png(place):
    place.photograph("a")
    place.map("a", Image.new("L", SIZE, 90), format="JPEG")
    place.collect()
    assert (place.placed("a") == 90).all()


def test_the_map_of_a_large_photograph_has_its_size_or_that_of_its_working_copy(place):
    for name, image in (("own", Image.new("L", (12, 8), 7)), ("working", Image.fromarray(GREY))):
        place.photograph(name, SIZE, (12, 8))
        place.map(name, image)
    place.collect()
    assert place.placed("own").tolist() == np.full((4, 6), 7).tolist()
    assert (place.destination / "working.png").read_bytes() == place.map("working").read_bytes()
    place.map("own", Image.new("L", (12, 7)))
    assert "size 12x7, the photograph has 12x8; give the map of this" in place.problem()


def test_missing_map(place):
    place.photograph("a")
    assert place.problem() == f"a.png: no such saliency map; {ADD_MAP}"


def test_maps_of_photographs_in_sub_folders(place):
    for number, name in enumerate(("a/x", "b/x")):
        place.photograph(name)
        place.map(name, Image.new("L", SIZE, number))
    place.collect()
    assert [place.placed(name).max() for name in ("a/x", "b/x")] == [0, 1]


def test_the_map_of_a_photograph_in_a_sub_folder_is_not_that_of_its_namesake(place):
    for number, name in enumerate(("x", "a/x")):
        place.photograph(name)
        place.map(name, Image.new("L", SIZE, number), folder="")
    place.collect()
    assert [place.placed(name).max() for name in ("x", "a/x")] == [0, 1]


def test_the_map_of_a_namesake_does_not_stand_in_for_one_that_is_missing(place):
    for name in ("x", "a/x"):
        place.photograph(name)
    place.map("a/x", folder="")
    assert place.problem() == f"x.png: no such saliency map; {ADD_MAP}"


def test_map_found_twice(place):
    place.photograph("a")
    files = [place.map("a", folder=folder) for folder in ("one", "two")]
    assert place.problem() == f"one/a.png: also found as {files[1]}; leave one of them there"


@pytest.mark.parametrize("damage", [lambda data: data[:-30], lambda data: b"", lambda data: b"x"])
def test_unreadable_map(place, damage):
    place.photograph("a")
    path = place.map("a")
    path.write_bytes(damage(path.read_bytes()))
    assert place.problem().startswith("top/a.png: cannot be decoded (")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("RGB", SIZE, (1, 1, 2)), "colour, not grey; save it as an 8-bit grey PNG"),
        (Image.new("RGB", SIZE, (1, 2, 1)), "colour, not grey"),
        (Image.new("RGBA", SIZE, (1, 1, 1, 9)), "transparent, not plain grey; save it as"),
        (Image.new("I;16", SIZE, 999), "mode I;16, not 8-bit grey; save it as"),
        (Image.new("L", (7, 4)), "size 7x4, the photograph has 6x4; give the map of this"),
    ],
)
def test_map_of_another_kind(place, image, message):
    place.photograph("a")
    place.map("a", image)
    assert place.problem().startswith(f"top/a.png: {message}")
    assert not place.destination.exists()


def test_large_map_is_refused_before_it_is_decoded(place):
    place.photograph("a")
    place.map("a")
    assert place.problem(max_pixels=23).startswith("top/a.png: 6x4 pixels, more than the 23 allow")


def test_map_of_a_photograph_that_cannot_be_used_is_looked_at(place):
    place.photograph("a")
    place.sizes["a"] = []
    place.map("a")
    place.collect()
    place.map("a", Image.new("RGB", (1, 1), "red"))
    assert "colour, not grey" in place.problem()


def test_all_problems_are_reported(place):
    for number in range(60):
        place.photograph(f"{number:03}")
    place.map("007")
    files, problems, facts = collect(place.source, place.sizes, place.destination, workers=2)
    assert list(files) == ["007.png"]
    assert len(problems) == 59
    assert (facts["constant"], facts["compared"]) == ([], 0)


def test_maps_that_show_nothing_are_named(place):
    for name, image in (
        ("white", Image.new("L", SIZE, 255)),
        ("black", Image.new("1", SIZE)),
        ("good", None),
    ):
        place.photograph(name)
        place.map(name, image)
    files, problems, facts = collect(place.source, place.sizes, place.destination, workers=2)
    assert len(files) == 3
    assert (problems, facts["constant"]) == ([], ["black.png", "white.png"])
    assert facts["maximum"] == 255


def test_maps_of_one_value_are_not_compared(place):
    place.photograph("white")
    place.map("white", Image.new("L", SIZE, 255))
    write_label(place.root / "mask.png", np.eye(4, 6))
    masks = {"white": str(place.root / "mask.png")}
    _, _, facts = collect(place.source, place.sizes, place.destination, masks=masks)
    assert (facts["compared"], facts["salient_background"], facts["salient_border"]) == (0, 0, 0)


def test_what_is_at_the_border_and_in_the_centre(place):
    grid = np.zeros((40, 60), np.uint8)
    grid[:4] = 200  # the upper of the borders, which are 4 rows and 6 columns wide
    grid[10:30, 15:30] = 200  # the left half of the centre
    place.photograph("a", (60, 40))
    place.map("a", Image.fromarray(grid))
    write_label(place.root / "mask.png", np.where(grid > 0, 0, 255))
    masks = {"a": str(place.root / "mask.png")}
    _, _, facts = collect(place.source, place.sizes, place.destination, masks=masks)
    border = 40 * 60 - 32 * 48
    assert facts["salient_border"] == pytest.approx(4 * 60 / border)
    assert facts["salient_centre"] == pytest.approx(0.5)
    assert (facts["maximum"], facts["masked_border"]) == (200, 0)
    write_label(place.root / "mask.png", np.where(grid > 0, 0, 3))
    _, _, facts = collect(place.source, place.sizes, place.destination, masks=masks)
    assert facts["masked_border"] == pytest.approx(1 - 4 * 60 / border)


def test_maps_are_compared_with_the_masks(place):
    # GREY is 0, 10, ... 230, and salient from 128 on: the right pixels of row 2, and row 3.
    truths = {"hit": np.full((4, 6), 7), "miss": np.zeros((4, 6)), "ignored": np.zeros((4, 6))}
    truths["miss"][0] = 1
    truths["ignored"][:] = 255
    masks = {}
    for name, truth in truths.items():
        place.photograph(name)
        place.map(name)
        path = place.root / f"masks/{name}.png"
        write_label(path, truth)
        masks[name] = str(path)
    place.photograph("without")
    place.map("without")
    _, problems, facts = collect(place.source, place.sizes, place.destination, masks=masks)
    assert not problems
    assert (facts["compared"], facts["without_overlap"]) == (3, ["miss.png"])
    assert facts["salient_objects"] == pytest.approx(11 / (24 + 6))
    assert facts["salient_background"] == pytest.approx(11 / 18)


# The command line.


@pytest.fixture
def stage(place, monkeypatch):
    """Run the stage on three images, and one that was left out, with the given arguments."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in "cabd":
        place.photograph(name)
        place.map(name)
    entries = [Entry(name, f"{name}.jpg", None, [1], *SIZE, name) for name in "cab"]
    index = place.root / "index.json"
    write_json(index, asdict(Index("train", ["cat", "dog"], entries, ["d"])))

    def run(*arguments) -> subprocess.CompletedProcess:
        paths = {
            "--cache": place.root / "cache",
            "--manifest": place.manifest,
        }
        options = [text for pair in paths.items() for text in pair]
        command = [sys.executable, SCRIPT, *options, "--index", index, *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=20)

    return run


def manifest(place: Place) -> dict:
    return json.loads(place.manifest.read_text())


def test_stage_from_a_folder(place, stage):
    done = stage("--source", place.source, "--threads", 2)
    assert done.returncode == 0, done.stderr
    made = manifest(place)
    assert list(made) == [
        "stage",
        "folder",
        "count",
        "source",
        "archive_sha256",
        "problems",
        "maximum",
        "constant",
        "compared",
        "without_overlap",
        "salient_objects",
        "salient_background",
        "salient_border",
        "salient_centre",
        "masked_border",
        "files",
        "sizes",
        "provenance",
    ]
    assert (made["stage"], made["source"]) == ("download_saliency", str(place.source))
    assert (made["folder"], made["count"], made["archive_sha256"]) == ("maps", 4, None)
    files = {f"{name}.png": digest_file(place.destination / f"{name}.png") for name in "abcd"}
    assert made["files"] == files


def test_stage_from_the_web(place, stage):
    archive = place.root / "maps.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(place.source / "top", "top")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    handler = partial(SimpleHTTPRequestHandler, directory=place.root)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{http.server_port}/maps.tar.gz"
        done = stage("--source", url, "--sha256", digest)
        http.shutdown()
    assert done.returncode == 0, done.stderr
    assert (manifest(place)["archive_sha256"], manifest(place)["count"]) == (digest, 4)
    # The archive in the cache serves a run without the server; then what was made is kept.
    assert (place.root / "cache" / digest).read_bytes() == archive.read_bytes()
    shutil.rmtree(place.manifest.parent)
    for message in ("4 saliency maps", "already made"):
        place.manifest.unlink(missing_ok=True)
        done = stage("--source", url, "--sha256", digest)
        assert done.returncode == 0, done.stderr
        assert message in done.stderr
        assert manifest(place)["count"] == 4


def problems(place: Place) -> list[str]:
    return [str(Problem(**problem)) for problem in manifest(place)["problems"]]


def test_stage_from_a_zip_with_a_map_too_few_and_a_bad_one(place, stage):
    archive = place.root / "maps.zip"
    place.map("b", Image.new("L", (9, 9)))
    with zipfile.ZipFile(archive, "w") as packed:
        for name in "abd":
            packed.write(place.source / "top" / f"{name}.png", f"top/{name}.png")
    done = stage("--source", archive.as_uri())
    assert done.returncode == 0, done.stderr
    assert [problem.partition("; ")[0] for problem in problems(place)] == [
        f"{archive.as_uri()}: top/b.png: size 9x9, the photograph has 6x4",
        f"{archive.as_uri()}: c.png: no such saliency map",
    ]
    assert not (place.manifest.parent / "unpacked").exists()


def test_an_archive_with_another_content_is_unpacked_again(place, stage):
    archive = place.root / "maps.zip"
    for value in (1, 2):
        place.map("a", Image.new("L", SIZE, value))
        with zipfile.ZipFile(archive, "w") as packed:
            for name in "abcd":
                packed.write(place.source / "top" / f"{name}.png", f"{name}.png")
        done = stage("--source", archive)
        assert done.returncode == 0, done.stderr
        assert (place.placed("a") == value).all()
    assert "already made" in stage("--source", archive).stderr


def test_a_source_that_cannot_be_had_is_a_problem(place, stage):
    for arguments, message in [
        (["--source", place.root / "none.zip"], "none.zip: no such file; give another source"),
        (["--source", place.source, "--sha256", "0" * 64], "a folder has no --sha256"),
        (["--source", place.root / "index.json"], "no tar or zip archive"),
    ]:
        done = stage(*arguments)
        assert done.returncode == 0, done.stderr
        (problem,) = problems(place)
        assert message in problem
        assert problem.endswith("see the setting saliency.location")


def test_stage_errors(place, stage):
    (place.root / "empty.json").write_text("{}")
    (place.root / "bad.json").write_text('{"images": [{"id": "a"}]}')
    for arguments, message in [
        (["--source", "x", "--index", place.root / "empty.json"], "empty.json: "),
        (["--source", "x", "--index", place.root / "bad.json"], "bad.json: "),
        (["--source", "x", "--index", place.root / "no.json"], "no.json: missing"),
    ]:
        done = stage(*arguments)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not place.manifest.exists()
