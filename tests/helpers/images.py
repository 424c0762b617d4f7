"""Images that claim to be what they are not."""

import struct
import zlib


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file, with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size: tuple[int, int], *chunks: bytes, pixels: bytes | None = None) -> bytes:
    """Return a grey PNG that claims `size` (width, height), with `chunks` before its pixels.

    `pixels` are its rows before compression, each after a filter byte; left out: all zero.
    """
    rows = bytes((size[0] + 1) * size[1]) if pixels is None else pixels
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + body + png_chunk(b"IEND", b"")


def huge_png(side: int) -> bytes:
    """Return a few bytes that claim to be an image of `side` x `side` pixels."""
    return png((side, side), pixels=bytes(100))
