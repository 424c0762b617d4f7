"""Draw the photographs of val: a share of each class, and near-duplicates on one side."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import imagehash
import numpy as np

from i2crc.config.schema import Dataset
from i2crc.data.images import read_photo
from i2crc.data.label_lists import ListRow
from i2crc.data.listing import Listing
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.errors import FileError, Problem, listing
from i2crc.runtime.parallel import map_in_order

# Photographs whose 64-bit difference hashes differ in this many bits at most are near-duplicates.
# Copies at half the size, at JPEG quality 40 or a fifth brighter do. Of the pairs of 572
# photographs of VOC and COCO, none differs in 8 bits or fewer.
NEAR = 6
# A hash with so few bits set, or unset, is that of a plain background, and says nothing of what is
# before it. Of 500 photographs of VOC and COCO, two have one.
PLAIN = 10
NEGATIVES = -1  # counted like a class


def draw_splits(listed: Listing, root: Path, dataset: Dataset, threads: int) -> Listing:
    """Return a listing in a drawn order, and with a drawn val if the data set has none."""
    splits = {
        split: sorted(rows, key=lambda row: _drawn(row.id, dataset.split_seed))
        for split, rows in listed.splits.items()
    }
    if not dataset.is_drawn:
        return replace(listed, splits=_without_shapes(splits))
    rows, folder = splits.get("train", []), root / dataset.images
    hashes = list(map_in_order(lambda row: photo_hash(folder / row.file, dataset), rows, threads))
    is_val = draw(rows, near_duplicates(hashes), dataset.val_share)
    parts: dict[str, list[ListRow]] = {"train": [], "val": []}
    for row, in_val in zip(rows, is_val, strict=True):
        parts["val" if in_val else "train"].append(row)
    counts = Counter(c for row in parts["val"] for c in row.classes or ())
    without = [name for c, name in enumerate(listed.classes) if not counts[c]]
    problems, warnings = list(listed.problems), list(listed.warnings)
    if rows and not parts["val"]:
        problem = f"no val can be drawn from {len(rows)} photographs: each class has too few that "
        problem += "are not near-duplicates of others"
        remedy = "add photographs, or set it to 0: nothing is then scored on val"
        problems.append(Problem(f"dataset.val_share: {dataset.val_share}", problem, remedy))
    elif without:
        warnings.append(
            f"too few photographs of {listing(without)} to draw one for val: not scored there"
        )
    splits = _without_shapes({**splits, **parts})
    return replace(listed, splits=splits, problems=problems, warnings=warnings)


def _without_shapes(splits: dict[str, list[ListRow]]) -> dict[str, list[ListRow]]:
    """Return the splits with the shapes of val and dev alone: masks are used to score them."""
    return {
        split: rows if split in ("val", "dev") else [replace(row, shapes=None) for row in rows]
        for split, rows in splits.items()
    }


def draw(rows: list[ListRow], groups: list[int], share: float) -> list[bool]:
    """Return for each photograph whether it is drawn for val.

    The rows are in the order of drawing. Those of a group stay together. Beginning with the rarest
    class, each group with it goes to the side that lacks most of its share of the class (iterative
    stratification: Sechidis, Tsoumakas and Vlahavas, 2011).
    """
    members: dict[int, list[ListRow]] = {}
    for row, group in zip(rows, groups, strict=True):
        members.setdefault(group, []).append(row)
    classes = {
        group: Counter(c for row in some for c in row.classes or [NEGATIVES])
        for group, some in members.items()
    }
    total = sum(classes.values(), Counter())
    holds: dict[int, list[int]] = {c: [] for c in total}
    for group, counts in classes.items():
        for c in counts:
            holds[c].append(group)
    lacks = {c: [count * (1 - share), count * share] for c, count in total.items()}
    side: dict[int, int] = {}
    while left := {c: n for c in holds if (n := sum(group not in side for group in holds[c]))}:
        rarest = min(left, key=lambda c: (left[c], c))
        for group in holds[rarest]:
            if group not in side:
                train, val = lacks[rarest]
                side[group] = int(val > train)
                for c, count in classes[group].items():
                    lacks[c][side[group]] -= count
    return [side[group] == 1 for group in groups]


def near_duplicates(hashes: list[int | str | None]) -> list[int]:
    """Return the group of each photograph: near-duplicates, directly or in a chain, share one."""
    groups = list(range(len(hashes)))

    def root(number: int) -> int:
        while groups[number] != number:
            groups[number] = groups[groups[number]]
            number = groups[number]
        return number

    first: dict[int | str, int] = {}  # hash -> the first photograph that has it
    for number, value in enumerate(hashes):
        if value is not None:
            groups[number] = first.setdefault(value, number)
    compared = {value: number for value, number in first.items() if isinstance(value, int)}
    known, values = np.array([*compared.values()], np.int64), np.array([*compared], np.uint64)
    for position, number in enumerate(known):
        differing = np.bitwise_count(values[position + 1 :] ^ values[position])
        for other in known[position + 1 :][differing <= NEAR]:
            groups[root(int(other))] = root(int(number))
    return [root(number) for number in range(len(groups))]


def photo_hash(path: Path, dataset: Dataset) -> int | str | None:
    """Return the 64-bit difference hash of a photograph; None if it cannot be read.

    Where that says nothing, the digest of the file is returned, which only equal files share.
    """
    try:
        photo = read_photo(path, dataset.max_pixels, max_side=128)
    except FileError:
        return None  # prepare_data reports it
    value = int(str(imagehash.dhash(photo)), 16)
    return value if PLAIN < value.bit_count() < 64 - PLAIN else digest_file(path)


def _drawn(image_id: str, seed: int) -> str:
    """Return what an image is ordered by in a draw; it depends on no other image."""
    return hashlib.sha256(f"{seed} {image_id}".encode()).hexdigest()
