"""The image decoder: labels, photographs of every kind, and damaged files."""

import importlib.util
import io
import os
import subprocess
import sys
import tracemalloc
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from helpers.images import huge_png
from i2crc.data.images import (
    photo_size,
    read_gray,
    read_label,
    read_photo,
    read_saliency,
    resize_nearest,
    voc_palette,
    write_gray,
    write_label,
)
from i2crc.runtime.errors import FileError, InputError

GRAY_IMAGES = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9))
VOC_COLORS = [
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128),
    (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128),
    (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0),
    (128, 192, 0), (0, 64, 128),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@given(GRAY_IMAGES)
def test_label_round_trip(folder, label):
    write_label(folder / "label.png", label)
    assert np.array_equal(read_label(folder / "label.png"), label)
    assert [path.name for path in folder.glob("*label*")] == ["label.png"]


@given(GRAY_IMAGES)
def test_gray_round_trip(folder, values):
    write_gray(folder / "gray.png", values)
    assert np.array_equal(read_gray(folder / "gray.png"), values)


def test_palette_is_the_voc_one():
    palette = voc_palette()
    assert (palette.shape, palette.dtype) == ((256, 3), np.uint8)
    assert [tuple(color) for color in palette[:21].tolist()] == VOC_COLORS
    assert palette[255].tolist() == [224, 224, 192]
    assert len(np.unique(palette, axis=0)) == 256


def test_label_is_shown_in_the_voc_colors(tmp_path):
    write_label(tmp_path / "label.png", np.array([[0, 1, 15, 255]]))
    with Image.open(tmp_path / "label.png") as image:
        assert image.mode == "P"
        shown = np.asarray(image.convert("RGB"))
    assert np.array_equal(shown, voc_palette()[[[0, 1, 15, 255]]])


def test_gray_label_is_read_as_indices(tmp_path):
    write_gray(tmp_path / "label.png", np.array([[0, 20, 255]], dtype=np.uint8))
    assert read_label(tmp_path / "label.png").tolist() == [[0, 20, 255]]


def test_label_of_one_bit_holds_0_and_1(tmp_path):
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "label.png")
    label = read_label(tmp_path / "label.png")
    assert (label.tolist(), label.dtype) == ([[0, 1]], np.uint8)
    with pytest.raises(InputError, match="mode 1, expected 8-bit grey"):
        read_gray(tmp_path / "label.png")


@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_wrong_kind_of_image_is_refused(tmp_path, mode):
    file = tmp_path / "wrong.png"
    Image.new(mode, (2, 2)).save(file)
    for read in (read_label, read_gray):
        with pytest.raises(InputError, match=rf"wrong\.png: mode {mode}"):
            read(file)


# Where the displayed image's columns and rows come from, by EXIF orientation.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_photo_is_upright(tmp_path, orientation):
    stored = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "photo.png", exif=exif)
    assert np.array_equal(read_photo(tmp_path / "photo.png"), UPRIGHT[orientation](stored))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_large_photo_is_upright_at_any_size(tmp_path, orientation, kind):
    """It has a bright corner, by which its orientation is seen."""
    stored = np.full((300, 500, 3), 40, np.uint8)
    stored[:100, :200] = 200
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "photo"
    Image.fromarray(stored).save(file, kind, exif=exif)
    upright = UPRIGHT[orientation](stored)
    height, width = upright.shape[:2]
    assert photo_size(file) == (width, height)
    small = np.asarray(read_photo(file, max_side=50))
    assert small.shape == (height // 10, width // 10, 3)
    expected = upright[5::10, 5::10].astype(int)
    # Lossy formats, and the edges of the corner.
    assert np.abs(small - expected).mean() < 3


@pytest.mark.parametrize(
    ("mode", "color"), [("P", 1), ("RGBA", (90, 90, 90, 255)), ("I;16", 90 * 256), ("1", 1)]
)
def test_large_photo_of_another_mode(tmp_path, mode, color):
    image = Image.new(mode, (60, 40), color)
    if mode == "P":
        image.putpalette([0, 0, 0, 90, 90, 90])
    image.save(tmp_path / "photo.png")
    small = read_photo(tmp_path / "photo.png", max_side=30)
    assert (small.mode, small.size) == ("RGB", (30, 20))
    assert np.unique(np.asarray(small)).tolist() == [255 if mode == "1" else 90]


def test_huge_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path):
    """A byte more than the small picture needs would be far more than the limit here."""
    Image.linear_gradient("L").resize((6000, 6000)).convert("RGB").save(tmp_path / "huge.jpg")
    code = (
        "import resource, sys; from pathlib import Path; from i2crc.data.images import read_photo;"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; before = used();"
        "photo = read_photo(Path(sys.argv[1]), max_side=256); print(photo.size[0], used() - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "huge.jpg")]
    size, kilobytes = map(int, subprocess.check_output(command).split())
    assert (size, kilobytes < 40_000) == (256, True)  # 36 million pixels take 144 MB
    small = np.asarray(read_photo(tmp_path / "huge.jpg", max_side=256), int)
    assert np.abs(small[..., 0] - np.asarray(Image.linear_gradient("L"), int)).mean() < 1


def test_photo_within_the_limit_stays_as_it_is(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)).save(
        tmp_path / "photo.jpg"
    )
    for side in (0, 9, 1000):
        read = read_photo(tmp_path / "photo.jpg", max_side=side)
        assert np.array_equal(read, read_photo(tmp_path / "photo.jpg"))


@given(GRAY_IMAGES, st.integers(0, 40), st.integers(0, 40))
def test_enlarged_label_comes_back_as_it_was(label, wider, higher):
    """So a stage that reads enlarged labels at working size computes on what was computed."""
    height, width = label.shape
    enlarged = resize_nearest(label, (width + wider, height + higher))
    assert enlarged.shape == (height + higher, width + wider)
    assert np.array_equal(resize_nearest(enlarged, (width, height)), label)


def test_label_is_written_at_the_size_of_the_photograph(tmp_path):
    write_label(tmp_path / "label.png", np.array([[0, 1], [255, 2]]), (4, 2))
    assert read_label(tmp_path / "label.png").tolist() == [[0, 0, 1, 1], [255, 255, 2, 2]]


def test_photo_of_a_phone(tmp_path):
    """It is read where pillow-heif is installed; elsewhere the message says what to do."""
    file = tmp_path / "photo.heic"
    file.write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    if importlib.util.find_spec("pillow_heif"):
        Image.new("RGB", (64, 48), (200, 30, 30)).save(file, "HEIF")
        assert photo_size(file) == read_photo(file).size == (64, 48)
        assert read_photo(file, max_side=32).size == (32, 24)
    else:
        message = r"\(HEIC\); install pillow-heif, or save it as a JPEG"
        with pytest.raises(FileError, match=message):
            photo_size(file)


@pytest.mark.parametrize(
    ("mode", "color", "name"),
    [
        ("L", 90, "photo.jpg"),
        ("CMYK", (0, 0, 0, 165), "photo.jpg"),
        ("LA", (90, 255), "photo.png"),
        ("RGBA", (90, 90, 90, 255), "photo.png"),
        # Over white: 255 - (255 - 24) * 182 / 255.
        ("RGBA", (24, 24, 24, 182), "photo.png"),
        ("LA", (24, 182), "photo.png"),
        ("I;16", 90 * 256 + 200, "photo.png"),
        ("I;16", 90 * 256, "photo.tif"),
        ("1", 1, "photo.png"),
        ("P", 90, "photo.png"),
        ("P", 90, "photo.gif"),
    ],
)
def test_photo_of_another_mode_becomes_rgb(tmp_path, mode, color, name):
    image = Image.new(mode, (4, 3), color)
    if mode == "P":
        image.putpalette([value for value in range(256) for _ in range(3)])
    image.save(tmp_path / name)
    photo = read_photo(tmp_path / name)
    assert (photo.mode, photo.size) == ("RGB", (4, 3))
    expected = 255 if mode == "1" else 90
    assert np.abs(np.asarray(photo).astype(int) - expected).max() <= 2


def test_sixteen_bits_keep_their_order(tmp_path):
    values = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "photo.png")
    assert np.array_equal(np.asarray(read_photo(tmp_path / "photo.png"))[:, :, 1], values >> 8)


def test_hidden_colours_of_transparent_pixels_stay_hidden(tmp_path):
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "photo.png", transparency=1)
    assert np.asarray(read_photo(tmp_path / "photo.png"))[0].tolist() == [[0] * 3, [255] * 3]


def test_values_without_a_range_are_refused(tmp_path):
    Image.new("F", (2, 2), 0.5).save(tmp_path / "photo.tif")
    with pytest.raises(FileError, match=r"photo\.tif: mode F, whose values have no fixed range"):
        read_photo(tmp_path / "photo.tif")


def test_the_content_tells_the_format_not_the_name(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", "PNG")
    assert np.array_equal(np.asarray(read_photo(tmp_path / "photo.jpg")), pixels)


def test_other_formats_are_not_even_tried(tmp_path):
    (tmp_path / "photo.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(FileError, match=r"cannot be decoded \(no JPEG, PNG, .* or PPM\); replace"):
        read_photo(tmp_path / "photo.jpg")


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "photo.jpg")
    with pytest.raises(FileError, match="missing"):
        read_photo(tmp_path / "photo.jpg")


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_bombs_are_judged_by_their_header(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(huge_png(side))
    tracemalloc.start()
    for read in (read_photo, read_gray, read_label, read_saliency):
        with pytest.raises(FileError, match=rf"{side}x{side} pixels, more than the .* allowed"):
            read(tmp_path / "bomb.png")
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_truncated_photo_is_named(tmp_path, kind, share):
    data = encoded(kind)
    file = tmp_path / "cut.jpg"
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"cut\.jpg: cannot be decoded"):
        read_photo(file)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@given(st.data())
def test_damage_is_an_input_error_or_goes_unseen(folder, kind, data):
    content = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "bad").write_bytes(content)
    try:
        read_photo(folder / "bad")
    except InputError as error:
        assert "bad: cannot be decoded" in str(error)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"\x0dIHDR", b"\x0cIHDR"), (b"IDAT", b"IDAZ"), (b"PNG", b"PGN")],
)
def test_png_with_a_damaged_chunk_is_named(tmp_path, old, new):
    (tmp_path / "bad.png").write_bytes(encoded("PNG").replace(old, new))
    with pytest.raises(InputError, match=r"bad\.png: cannot be decoded"):
        read_photo(tmp_path / "bad.png")


def test_png_with_a_short_chunk_is_named(tmp_path):
    data = bytearray(encoded("PNG"))
    data[data.index(b"IDAT") - 1] = 10
    data[data.index(b"IDAT") - 2] = 0
    (tmp_path / "bad.png").write_bytes(data)
    with pytest.raises(InputError, match=r"bad\.png: cannot be decoded"):
        read_photo(tmp_path / "bad.png")


def test_a_file_that_may_not_be_read_is_to_be_made_readable(tmp_path, monkeypatch):
    """Root reads every file, so the answer of the system is made."""
    (tmp_path / "a.jpg").write_bytes(encoded("JPEG"))
    monkeypatch.setattr(Image, "open", Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(InputError, match=r"decoded \(Permission denied\); make it readable"):
        read_photo(tmp_path / "a.jpg")


def test_missing_file_is_named(tmp_path):
    for read in (read_photo, read_gray, read_label):
        with pytest.raises(InputError, match=r"none\.png: missing"):
            read(tmp_path / "none.png")
