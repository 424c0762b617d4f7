"""Drawn photographs and masks, each different from the others, for data sets of any form."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 32)


def draw_photo(path: Path, number: int, size: tuple[int, int] = SIZE) -> None:
    """Write a photograph of coloured clouds; another number gives another one."""
    seeds = np.random.default_rng(number).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(seeds).resize(size, Image.Resampling.BICUBIC).save(path)


def draw_mask(path: Path, value: int, size: tuple[int, int] = SIZE) -> None:
    """Write a grey mask: a box of a value on 0."""
    mask = np.zeros(size[::-1], np.uint8)
    mask[8:20, 10:30] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def draw_class_folders(root: Path, classes: list[str], count: int) -> None:
    """Write `count` photographs into a folder for each class."""
    for number, name in enumerate(classes):
        for photo in range(count):
            draw_photo(root / name / f"IMG {photo}.png", 1000 * number + photo)
