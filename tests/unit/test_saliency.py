"""Gathering saliency maps, and the stage download_saliency from end to end."""

import hashlib
import json
import subprocess
import sys
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2crc.dataset import Entry
from i2crc.files import InputError, digest_file
from i2crc.saliency import collect

SCRIPT = Path(__file__).parents[2] / "workflow_scripts" / "download_saliency.py"
SIZE = (6, 4)
GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


class Place:
    """A folder with photographs, their index and a source of maps."""

    def __init__(self, root: Path):
        self.root = root
        self.source = root / "source"
        self.destination = root / "saliency" / "maps"
        self.report = root / "saliency" / "problems.txt"
        self.manifest = root / "saliency" / "manifest.json"
        self.images: list[dict] = []
        (self.source / "top").mkdir(parents=True)

    def photograph(self, name: str, size: tuple[int, int] = SIZE, orientation: int = 1) -> None:
        path = self.root / f"{name}.jpg"
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", size).save(path, exif=exif)
        entry = Entry(name, str(path), None, [1], *size, digest_file(path))
        self.images.append(vars(entry))

    def map(self, name: str, image: Image.Image | None = None, folder: str = "top", **save) -> Path:
        path = self.source / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (image or Image.fromarray(GREY)).save(path, **{"format": "PNG"} | save)
        return path

    def collect(self) -> dict[str, str]:
        return collect(self.source, self.images, self.destination, workers=2)

    def placed(self, name: str) -> np.ndarray:
        with Image.open(self.destination / f"{name}.png") as image:
            assert (image.mode, image.format) == ("L", "PNG")
            return np.asarray(image)

    def problem(self) -> str:
        """The report's one problem."""
        with pytest.raises(InputError, match="1 problem with"):
            self.collect()
        (line,) = self.report.read_text().splitlines()
        return line


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_grey_png_is_copied_byte_for_byte(place):
    for name in ("b", "a.1"):
        place.photograph(name)
        source = place.map(name)
    place.map("unasked")
    digests = place.collect()
    assert list(digests) == ["a.1", "b"]
    for name, digest in digests.items():
        data = (place.destination / f"{name}.png").read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
    assert data == source.read_bytes()
    assert {path.name for path in place.destination.iterdir()} == {"a.1.png", "b.png"}
    assert not place.report.exists()


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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_that_of_the_displayed_photograph(place, orientation):
    turned = orientation >= 5
    place.photograph("a", SIZE[::-1] if turned else SIZE, orientation)
    place.map("a")
    place.collect()
    place.images[0]["image"] = place.images[0]["image"].replace("a.jpg", "b.jpg")
    place.photograph("b", SIZE if turned else SIZE[::-1], orientation)
    place.images.pop()
    assert "size 6x4 against 4x6" in place.problem()


def test_missing_map(place):
    place.photograph("a")
    assert place.problem() == "a: a.png: missing"


def test_map_found_twice(place):
    place.photograph("a")
    files = [place.map("a", folder=folder) for folder in ("one", "two")]
    assert place.problem() == f"a: {files[0]}, {files[1]}: more than one file"


@pytest.mark.parametrize("damage", [lambda data: data[:-30], lambda data: b"", lambda data: b"x"])
def test_unreadable_map(place, damage):
    place.photograph("a")
    path = place.map("a")
    path.write_bytes(damage(path.read_bytes()))
    assert place.problem().startswith(f"a: {path}: unreadable (")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("RGB", SIZE, (1, 1, 2)), "colour, not grey"),
        (Image.new("RGB", SIZE, (1, 2, 1)), "colour, not grey"),
        (Image.new("RGBA", SIZE, (1, 1, 1, 9)), "transparent, not plain grey"),
        (Image.new("I;16", SIZE, 999), "mode I;16, not 8-bit grey"),
        (Image.new("L", (7, 4)), "size 7x4 against 6x4 of the photograph"),
    ],
)
def test_map_of_another_kind(place, image, message):
    place.photograph("a")
    path = place.map("a", image)
    assert place.problem() == f"a: {path}: {message}"
    assert not place.destination.exists()


def test_unreadable_photograph(place):
    place.photograph("a")
    place.map("a")
    Path(place.images[0]["image"]).write_bytes(b"junk")
    assert "a.jpg: unreadable photograph (" in place.problem()


def test_one_id_for_two_photographs(place):
    place.photograph("a")
    place.map("a")
    place.images *= 2
    place.collect()
    place.images.append({"id": "a", "image": "other.jpg"})
    assert place.problem().startswith("a: other.jpg: the index has ")


def test_all_problems_are_told(place):
    place.photograph("fine")
    place.map("fine")
    place.images += [{"id": f"{n:03}", "image": "none.jpg"} for n in range(60)]
    with pytest.raises(InputError) as caught:
        place.collect()
    message = str(caught.value)
    assert message.startswith(f"{place.source}: 60 problems with the saliency maps of 61 images")
    assert message.count(": missing") == 50
    assert "... and 10 more" in message
    assert str(place.report) in message
    assert len(place.report.read_text().splitlines()) == 60
    del place.images[1:]
    place.collect()
    assert not place.report.exists()


# The command line.


@pytest.fixture
def stage(place, monkeypatch):
    """Run the stage on three images in two indexes with the given further arguments."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in "cab":
        place.photograph(name)
        place.map(name)
    indexes = [place.root / "one.json", place.root / "two.json"]
    for path, images in zip(indexes, (place.images[:2], place.images[2:]), strict=True):
        path.write_text(json.dumps({"split": "train", "classes": ["cat"], "images": images}))

    def run(*arguments) -> subprocess.CompletedProcess:
        paths = {
            "--cache": place.root / "cache",
            "--output": place.destination,
            "--manifest": place.manifest,
        }
        options = [text for pair in paths.items() for text in pair]
        command = [sys.executable, SCRIPT, *options, "--index", *indexes, *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=20)

    return run


def manifest(place: Place) -> dict:
    return json.loads(place.manifest.read_text())


def test_stage_from_a_folder(place, stage):
    done = stage("--source", place.source, "--threads", 2)
    assert done.returncode == 0, done.stderr
    told = manifest(place)
    assert list(told) == [
        "stage",
        "folder",
        "count",
        "source",
        "archive_sha256",
        "files",
        "provenance",
    ]
    assert (told["stage"], told["source"]) == ("download_saliency", str(place.source))
    assert (told["folder"], told["count"], told["archive_sha256"]) == ("maps", 3, None)
    files = {name: digest_file(place.destination / name) for name in ("a.png", "b.png", "c.png")}
    assert told["files"] == files


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
    assert (manifest(place)["archive_sha256"], manifest(place)["count"]) == (digest, 3)
    # The cache holds the archive alone, which serves a second run without the server.
    assert len(list((place.root / "cache").iterdir())) == 1
    place.manifest.unlink()
    assert stage("--source", url, "--sha256", digest).returncode == 0
    assert manifest(place)["count"] == 3


def test_stage_from_a_zip_with_a_map_too_few(place, stage):
    archive = place.root / "maps.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in "ab":
            packed.write(place.source / "top" / f"{name}.png", f"top/{name}.png")
    done = stage("--source", archive.as_uri())
    assert done.returncode == 1
    assert "1 problem with the saliency maps of 3 images" in done.stderr
    assert "c: c.png: missing" in done.stderr
    assert "Traceback" not in done.stderr
    assert not place.manifest.exists()
    assert not (place.root / "cache" / "unpacked").exists()


def test_stage_errors(place, stage):
    (place.root / "empty.json").write_text("{}")
    (place.root / "bad.json").write_text('{"images": [{"id": "a"}]}')
    for arguments, message in [
        (["--source", place.root / "none.zip"], "none.zip: no such file; give another source"),
        (["--source", place.source, "--sha256", "0" * 64], "a folder has no --sha256"),
        (["--source", "x", "--index", place.root / "empty.json"], "empty.json: "),
        (["--source", "x", "--index", place.root / "bad.json"], "bad.json: "),
        (["--source", "x", "--index", place.root / "no.json"], "no.json: missing"),
        (["--source", place.root / "one.json"], "neither a tar nor a zip archive"),
    ]:
        done = stage(*arguments)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not place.manifest.exists()
