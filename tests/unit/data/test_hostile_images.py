"""Images from strangers: bombs, and formats that Pillow would hand to other programs."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from helpers.images import png, png_chunk
from i2crc.data.images import FORMATS, photo_size, read_gray, read_label, read_photo
from i2crc.data.saliency import collect
from i2crc.runtime.errors import InputError

READERS = (read_photo, read_gray, read_label)
SIZE = (6, 4)


def zipped(kind: bytes, start: bytes, size: int) -> bytes:
    return png_chunk(kind, start + zlib.compress(bytes(size), 9))


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n%%EndComments\nshowpage\n%%EOF\n"
HOSTILE = {
    "postscript": POSTSCRIPT,
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "pdf": b"%PDF-1.4\n",
    "claims to be huge": png((30_000, 30_000), pixels=b""),
    "claims to be endless": png((2**31 - 1, 2**31 - 1), pixels=b""),
    "no pixels at all": png((0, 0)),
    "pixels missing": png((60, 40), pixels=bytes(10)),
    "text that unpacks to a giant": png(SIZE, zipped(b"zTXt", b"k\0\0", 20_000_000)),
    "many texts": png(SIZE, *[zipped(b"zTXt", b"k\0\0", 1_000_000)] * 100),
    "international text": png(SIZE, zipped(b"iTXt", b"k\0\x01\0en\0k\0", 20_000_000)),
    "chunk without end": png(SIZE)[:33] + struct.pack(">I", 2**31 - 1) + b"tEXt",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_image(tmp_path, kind):
    """Every reader refuses it, under the name of a good image."""
    path = tmp_path / "a.png"
    path.write_bytes(HOSTILE[kind])
    for read in READERS:
        with pytest.raises(InputError, match=r"a\.png: "):
            read(path)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_saliency_map(tmp_path, kind):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "a.png").write_bytes(HOSTILE[kind])
    made, (problem,), _ = collect(tmp_path / "maps", {"a": SIZE}, tmp_path / "out" / "maps")
    assert made == {}
    assert problem.file.endswith("a.png")
    assert problem.problem
    assert problem.remedy
    assert not (tmp_path / "out" / "maps" / "a.png").exists()


def test_colour_profile_that_unpacks_to_a_giant_costs_nothing(tmp_path):
    (tmp_path / "a.png").write_bytes(png(SIZE, zipped(b"iCCP", b"k\0\0", 200_000_000)))
    try:
        assert not read_gray(tmp_path / "a.png").any()
    except InputError as error:
        assert "a.png" in str(error)


def exif(payload: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", SIZE).save(file, "JPEG", exif=b"Exif\0\0" + payload)
    return file.getvalue()


ENTRY = struct.pack("<HHII", 0x0112, 3, 1, 6)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"junk" * 10,
        b"II*\0" + struct.pack("<IH", 8, 65535) + ENTRY,
        b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0x0112, 3, 2**31, 2**31),
        b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0x0112, 2, 2, 0x4141),
        b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0x0112, 3, 1, 99),
        b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0x8769, 4, 1, 8) * 2,
    ],
)
def test_exif_that_makes_no_sense(tmp_path, payload):
    (tmp_path / "a.jpg").write_bytes(exif(payload))
    try:
        assert sorted(read_photo(tmp_path / "a.jpg").size) == sorted(SIZE)
    except InputError as error:
        assert "a.jpg" in str(error)


@pytest.mark.parametrize("turn", [1, 6])
def test_exif_that_cannot_be_written_again_is_read(tmp_path, turn):
    """An orientation beside a width that is a text."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, turn) + struct.pack("<HHI4s", 0x0100, 2, 4, b"x")
    (tmp_path / "a.jpg").write_bytes(exif(b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)))
    size = SIZE if turn == 1 else SIZE[::-1]
    assert read_photo(tmp_path / "a.jpg").size == photo_size(tmp_path / "a.jpg") == size


@pytest.mark.parametrize("name", FORMATS)
def test_formats_of_photographs(tmp_path, name):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.full((4, 6, 3), 90, np.uint8)).save(path, name)
    assert read_photo(path).size == SIZE
