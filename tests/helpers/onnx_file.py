"""ONNX files with one operator, written as the protobuf messages of onnx.proto."""

from pathlib import Path

FLOAT, INTS = 1, 7


def field(number: int, value: int | bytes | str) -> bytes:
    """A field of a message: a number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    """A number, seven bits a byte."""
    return bytes([number]) if number < 128 else bytes([number % 128 | 128]) + varint(number >> 7)


def tensor(name: str, sizes: list[str]) -> bytes:
    """A float tensor; a size that is no number may be any."""
    dimensions = [field(1, int(size)) if size.isdecimal() else field(2, size) for size in sizes]
    shape = b"".join(field(1, dimension) for dimension in dimensions)
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, shape)))


def write_mean(path: Path, axis: int = 1, size: str = "side") -> None:
    """Write a network that returns the mean of its input (1, 3, size, size) over an axis.

    With axis 1 it is a map, 1x1 x size x size.
    """
    axes = field(1, "axes") + field(8, axis) + field(20, INTS)
    node = field(1, "photo") + field(2, "map") + field(4, "ReduceMean") + field(5, axes)
    inputs = field(11, tensor("photo", ["1", "3", size, size]))
    graph = field(1, node) + field(2, "g") + inputs + field(12, tensor("map", ["a", "b", "c", "d"]))
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13)))
