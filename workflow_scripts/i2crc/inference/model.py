"""Use a trained network on photographs: `i2crc.load_model`, the command `segment`."""

import io
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from i2crc.config.schema import LARGEST_SCALE
from i2crc.data.images import (
    UNREADABLE,
    photo_size,
    read_photo,
    resize_nearest,
    shrink,
    upright_rgb,
    working_copy,
)
from i2crc.inference.logits import rounded_logits
from i2crc.inference.model_file import read_model
from i2crc.inference.prediction import full_precision, network_label, predict_batch
from i2crc.labels.dense_crf import crf_label
from i2crc.runtime.errors import FileError, InputError
from i2crc.runtime.parallel import no_interrupts

FILE = "model.safetensors"
GIVE = (
    f"give the model file that a run makes after its last training, RESULTS/EXPERIMENT/{FILE}, or "
    "the folder RESULTS/EXPERIMENT"
)
# The working size of a network whose run had none (dataset.max_side is 0), in pixels.
LARGEST_SIDE = 2048
BACKGROUND = "background"
Photo = str | os.PathLike[str] | Image.Image | np.ndarray


class WorkingPhoto(NamedTuple):
    """A photograph as (h, w, 3) uint8 RGB at the working size, and its own (width, height)."""

    pixels: np.ndarray
    own_size: tuple[int, int]


class Area(NamedTuple):
    """The pixels of a class in a photograph, and their share of it, 0..1."""

    pixels: int
    share: float


@dataclass(frozen=True)
class Prediction:
    """The classes of the pixels of a photograph.

    `label` is (H, W) uint8, of the photograph's size as displayed: 0 is the background, n + 1 is
    `classes[n]`. The keys of `areas` and `confidence` are the names of the classes found, and
    "background". A confidence is the mean probability, 0..1, of the class at its pixels. `colors`
    are (K+1, 3) uint8 RGB, those of the background first.
    """

    label: np.ndarray
    areas: dict[str, Area]
    confidence: dict[str, float]
    classes: list[str]
    colors: np.ndarray


class Model:
    """A trained network with everything that its use needs; `load_model` returns it."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self.path = path
        self.network, self.card = read_model(path, device)
        self.classes = self.card.classes
        self.colors = np.array(self.card.colors, np.uint8)
        self.max_side = self.card.max_side or LARGEST_SIDE

    def __call__(
        self,
        photo: Photo,
        crf: bool = False,
        scales: Sequence[float] | None = None,
        flip: bool | None = None,
    ) -> Prediction:
        """Return the classes of the pixels of a photograph.

        It is a file, a PIL image, or an (H, W, 3) uint8 RGB array. With `crf`, a dense CRF refines
        the label. The probabilities are averaged over `scales` (multiples of the working size) and,
        with `flip`, the mirrored photograph; None means as the run did. Raise InputError if the
        photograph cannot be used.
        """
        (prediction,) = self.segment([self.open(photo)], crf, scales, flip)
        return prediction

    def open(self, photo: Photo) -> WorkingPhoto:
        """Return a photograph at the working size, with the pixels that the stages read."""
        if isinstance(photo, np.ndarray):
            is_rgb = photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3
            if not is_rgb or not photo.size:
                raise InputError(
                    f"an array of shape {photo.shape} and type {photo.dtype} is no photograph; "
                    "give RGB values as (height, width, 3) uint8"
                )
            photo = Image.fromarray(photo)
        if isinstance(photo, Image.Image):
            name = getattr(photo, "filename", "") or "image"
            try:
                image = upright_rgb(photo, name)
            except UNREADABLE as error:
                problem = f"cannot be decoded ({error})"
                raise FileError(name, problem, "give another photograph") from error
            own_size = image.size
            if 0 in own_size:
                raise FileError(name, "has no pixels", "give another photograph")
            shrink(image, self.max_side)
        else:
            own_size = photo_size(Path(photo))
            image = read_photo(Path(photo), max_side=self.max_side)
        if image.size != own_size:
            image = Image.open(io.BytesIO(working_copy(image)))
        return WorkingPhoto(np.asarray(image), own_size)

    def segment(
        self,
        photos: Sequence[WorkingPhoto],
        crf: bool = False,
        scales: Sequence[float] | None = None,
        flip: bool | None = None,
        pool: Executor | None = None,
    ) -> list[Prediction]:
        """Return the predictions of photographs, as `__call__` does.

        The network takes those of the same working size together. The CRF, which holds the
        interpreter's lock, runs in the processes of `pool`.
        """
        self.check_options(crf, scales)
        scales = tuple(self.card.prediction.scales if scales is None else scales)
        flip = self.card.prediction.flip if flip is None else flip
        settings = self.card.crf if crf else None
        pixels = [photo.pixels for photo in photos]
        logits = [np.empty(0)] * len(photos)
        for shape in {values.shape for values in pixels}:
            same = [number for number, values in enumerate(pixels) if values.shape == shape]
            batch = [pixels[number] for number in same]
            preprocessing = self.card.preprocessing
            with full_precision():
                outputs = predict_batch(self.network, batch, preprocessing, scales or (1.0,), flip)
            for number, output in zip(same, rounded_logits(outputs), strict=True):
                logits[number] = output  # as the stages store them
        found: Iterable[tuple[np.ndarray, np.ndarray]]
        if settings:
            with no_interrupts():
                refine = partial(crf_label, settings=settings)
                found = (pool.map if pool else map)(refine, pixels, logits)
        else:
            sizes = [values.shape[:2] for values in pixels]
            found = map(network_label, logits, sizes)
        return [
            self._prediction(label, probability, photo.own_size)
            for (label, probability), photo in zip(found, photos, strict=True)
        ]

    def check_options(self, crf: bool, scales: Sequence[float] | None) -> None:
        """Raise InputError for options that this model cannot predict with."""
        given = () if scales is None else scales  # it may be an array
        if wrong := [scale for scale in given if not 0 < scale <= LARGEST_SCALE]:
            problem = f"scale {wrong[0]:g}, expected a number above 0, at most {LARGEST_SCALE}"
            raise InputError(f"{problem}; give multiples of the photograph's size, such as 0.75 1")
        if crf and self.card.crf is None:
            problem = "has no settings of the CRF, because an earlier version made it"
            raise FileError(self.path, problem, "make it again with this version, or use no CRF")

    def _prediction(
        self, label: np.ndarray, probability: np.ndarray, own_size: tuple[int, int]
    ) -> Prediction:
        """Return the prediction of a label and its probabilities at the working size."""
        names = [BACKGROUND, *self.classes]
        counts = np.bincount(label.ravel(), minlength=len(names))
        sums = np.bincount(label.ravel(), probability.ravel(), minlength=len(names))
        own = resize_nearest(label, own_size)
        pixels = Image.fromarray(own).histogram()  # without a copy, as own may be large
        shown = [number for number in range(len(names)) if pixels[number]]
        areas = {names[n]: Area(pixels[n], pixels[n] / own.size) for n in shown}
        confidence = {names[n]: float(sums[n] / counts[n]) for n in shown}
        return Prediction(own, areas, confidence, self.classes, self.colors)


def find_model(given: Path) -> Path:
    """Return the model file that is given by its path, or by the folder of its run."""
    file = given / FILE if given.is_dir() else given
    if not file.is_file():
        raise FileError(given, f"holds no {FILE}" if given.is_dir() else "no such file", GIVE)
    return file


def load_model(path: str | os.PathLike[str], device: str | torch.device | None = None) -> Model:
    """Return the network of a model file, ready to use: `load_model(path)(photo)`.

    `path` may also be the folder of the run. `device` is by default the GPU where there is one.
    Raise InputError if the file cannot be used.
    """
    file = find_model(Path(path))
    has_gpu = torch.cuda.is_available()
    device = device or ("cuda" if has_gpu else "cpu")
    if str(device).startswith("cuda") and not has_gpu:
        raise InputError(f"device {device}: torch finds no GPU here; leave the device out")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).tolist()  # "meta" has no values
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        problem = f"device {device}: torch cannot compute on it here ({reason})"
        raise InputError(f"{problem}; leave the device out") from error
    return Model(file, chosen)
