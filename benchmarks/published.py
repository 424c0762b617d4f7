"""The published way of networks and CRF, written plainly from docs/METHOD.md, to compare with ours.

One photograph at a time, float32, networks of contiguous tensors, files decoded in the main
process. torch and onnxruntime use the threads that they choose, which is all cores.
published_labels.py is the same for labels. tests/unit/benchmarks shows that the results are ours.
"""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from PIL import Image
from pydensecrf.densecrf import DenseCRF2D
from torch import nn
from torchvision.transforms import ColorJitter

from i2crc.config.schema import (
    Cam,
    Classifier,
    Crf,
    Optimizer,
    RelationLosses,
    SaliencyModel,
    Segmentation,
)
from i2crc.data.index import Index
from i2crc.data.transforms import CAFFE_BGR, Preprocessing
from published_labels import read


def network_input(pixels: np.ndarray, preprocessing: Preprocessing) -> torch.Tensor:
    """Return a (3, H, W) float32 tensor of (H, W, 3) uint8 RGB pixels (METHOD 19)."""
    values = pixels if preprocessing.order == "rgb" else pixels[:, :, ::-1]
    mean, std = (np.array(value, np.float32) for value in (preprocessing.mean, preprocessing.std))
    values = (values.astype(np.float32) / np.float32(preprocessing.scale) - mean) / std
    return torch.from_numpy(values.transpose(2, 0, 1).copy())


# Training -----------------------------------------------------------------------------------------


def classifier_sample(
    photo: Path, saliency: Path, settings: Classifier, preprocessing: Preprocessing
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return image (3, S, S) and saliency (S, S) in 0..1 of a training photograph (METHOD 4-5)."""
    size = settings.input_size
    square = Image.open(photo).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    image = network_input(np.asarray(ColorJitter(*settings.color_jitter)(square)), preprocessing)
    values = torch.from_numpy(read(saliency).astype(np.float32) / 255)
    values = F.interpolate(values[None, None], size=(size, size), mode="nearest")[0, 0]
    if settings.flip and torch.rand(()) < 0.5:
        image, values = image.flip(2), values.flip(1)
    return image, values


def classifier_loss(
    cam: torch.Tensor, saliency: torch.Tensor, labels: torch.Tensor, weights: RelationLosses
) -> dict[str, torch.Tensor]:
    """Return the loss of (N, K, h, w) raw maps and its terms (METHOD 7-9).

    The maps are enlarged to `saliency`, (N, S, S) in 0..1; `labels` are (N, K) 0/1.
    """
    classification = F.multilabel_soft_margin_loss(cam.mean(dim=(2, 3)), labels)
    enlarged = F.interpolate(cam, saliency.shape[1:], mode="bilinear", align_corners=False)
    single = labels.sum(dim=1) == 1
    x, labels, salient = enlarged[single], labels[single], saliency[single][:, None]
    if not len(x):
        return {"loss": classification, "classification": classification}
    terms, prototypes = {}, {}
    for name, mask in (("foreground", salient), ("background", 1 - salient)):
        area = mask.sum(dim=(2, 3), keepdim=True) + 1e-5
        prototypes[name] = (x * mask).sum(dim=(2, 3), keepdim=True) / area
        spread = ((x - prototypes[name]) * mask).square().sum(dim=(2, 3), keepdim=True)
        terms[name] = (spread / area).mean()
    gap = prototypes["background"] - prototypes["foreground"]
    terms["class_gap"] = (gap[:, :, 0, 0] * labels).mean()
    total = classification + sum(getattr(weights, name) * value for name, value in terms.items())
    return {"loss": total, "classification": classification, **terms}


def segmentation_sample(
    photo: Path, label: Path, settings: Segmentation, preprocessing: Preprocessing
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return image (3, S, S) and label (S, S) of a training photograph (METHOD 20)."""
    pixels = np.asarray(Image.open(photo).convert("RGB"))
    image, target = network_input(pixels, preprocessing), Image.open(label)
    scale = settings.scale_jitter[int(torch.randint(len(settings.scale_jitter), ()))]
    height, width = (max(1, int(side * scale)) for side in pixels.shape[:2])
    if scale != 1:
        image = F.interpolate(image[None], (height, width), mode="bilinear", align_corners=False)[0]
        target = target.resize((width, height), Image.Resampling.NEAREST)
    side = settings.crop_size
    missing = (0, max(0, side - width), 0, max(0, side - height))
    image = F.pad(image, missing)
    values = F.pad(torch.from_numpy(np.array(target)), missing, value=255)
    top, left = (int(torch.randint(have - side + 1, ())) for have in values.shape)
    image = image[:, top : top + side, left : left + side]
    values = values[top : top + side, left : left + side]
    if settings.flip and torch.rand(()) < 0.5:
        image, values = image.flip(2), values.flip(1)
    return image, values


def segmentation_loss(logits: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Return the summed cross entropies of all scales; PIL shrinks each label (METHOD 20-21)."""
    total = 0
    for scale in logits:
        size = scale.shape[:1:-1]
        small = [Image.fromarray(label.numpy()).resize(size, Image.NEAREST) for label in labels]
        target = torch.from_numpy(np.stack([np.asarray(label) for label in small])).long()
        total = total + F.cross_entropy(scale, target.to(scale.device), ignore_index=255)
    return total


def make_optimizer(model: nn.Module, head: str, settings: Optimizer) -> torch.optim.Optimizer:
    """Return the optimiser, with rates for backbone and head, weights and biases (METHOD 10)."""
    rates: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        rate = settings.learning_rate * (settings.head_factor if name.startswith(head) else 1)
        rate *= settings.bias_factor if name.endswith("bias") else 1
        rates.setdefault(rate, []).append(parameter)
    groups = [{"params": parameters, "lr": rate} for rate, parameters in rates.items()]
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    return torch.optim.SGD(
        groups,
        settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )


def train_mode(model: nn.Module, batch_norm: str) -> None:
    """Set a network to training; batch norms that are frozen keep their statistics."""
    model.train()
    for module in model.modules():
        if batch_norm == "freeze" and isinstance(module, nn.BatchNorm2d):
            module.eval()


class ClassifierSteps:
    """The training of the classifier. A call is one step of the optimiser; it returns the terms."""

    def __init__(
        self,
        model: nn.Module,
        settings: Classifier,
        preprocessing: Preprocessing,
        index: Index,
        saliency: Path,
    ) -> None:
        self.model, self.settings, self.preprocessing = model, settings, preprocessing
        self.index, self.saliency = index, saliency
        self.optimizer = make_optimizer(model, "extra_convs", settings.optimizer)
        train_mode(model, settings.batch_norm)

    def __call__(self) -> dict[str, float]:
        """Train with the next batches."""
        device = next(self.model.parameters()).device
        for _ in range(self.settings.accumulate):
            images, maps, labels = self.batch()
            cam = self.model(images.to(device))
            weights = self.settings.relation_losses
            terms = classifier_loss(cam, maps.to(device), labels.to(device), weights)
            (terms["loss"] / self.settings.accumulate).backward()
            values = {name: value.item() for name, value in terms.items()}
        self.optimizer.step()
        self.optimizer.zero_grad()
        return values

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return random images, their saliency and their labels."""
        chosen = torch.randint(len(self.index.images), (self.settings.batch_size,)).tolist()
        entries = [self.index.images[number] for number in chosen]
        samples = [
            classifier_sample(
                Path(entry.image),
                self.saliency / f"{entry.id}.png",
                self.settings,
                self.preprocessing,
            )
            for entry in entries
        ]
        labels = torch.zeros(len(entries), len(self.index.classes))
        for row, entry in zip(labels, entries, strict=True):
            row[entry.classes] = 1
        images, maps = zip(*samples, strict=True)
        return torch.stack(images), torch.stack(maps), labels


class SegmentationSteps:
    """The training of the segmentation network. A call is one step; it returns the loss."""

    def __init__(
        self,
        model: nn.Module,
        settings: Segmentation,
        preprocessing: Preprocessing,
        index: Index,
        labels: Path,
    ) -> None:
        self.model, self.settings, self.preprocessing = model, settings, preprocessing
        self.index, self.labels = index, labels
        self.optimizer = make_optimizer(model, "base.classifier", settings.optimizer)
        train_mode(model, settings.batch_norm)

    def __call__(self) -> float:
        """Train with the next batches."""
        device, value = next(self.model.parameters()).device, 0.0
        for _ in range(self.settings.accumulate):
            images, labels = self.batch()
            loss = segmentation_loss(self.model(images.to(device)), labels)
            (loss / self.settings.accumulate).backward()
            value += loss.item() / self.settings.accumulate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return value

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return random images and their labels."""
        chosen = torch.randint(len(self.index.images), (self.settings.batch_size,)).tolist()
        entries = [self.index.images[number] for number in chosen]
        samples = [
            segmentation_sample(
                Path(entry.image),
                self.labels / f"{entry.id}.png",
                self.settings,
                self.preprocessing,
            )
            for entry in entries
        ]
        images, labels = zip(*samples, strict=True)
        return torch.stack(images), torch.stack(labels)


# Inference ----------------------------------------------------------------------------------------


@torch.no_grad()
def attention_maps(
    model: nn.Module,
    photo: Path,
    classes: list[int],
    input_size: int,
    preprocessing: Preprocessing,
    cam: Cam,
) -> dict[int, np.ndarray]:
    """Return class -> (H, W) uint8 attention of a photograph (METHOD 12), one pass for each scale.

    `cam` says over which scales and mirrored images the maps are averaged.
    """
    image, device = Image.open(photo).convert("RGB"), next(model.parameters()).device
    maps = []
    for scale in cam.scales:
        side = round(input_size * scale)
        square = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
        batch = network_input(square, preprocessing)[None].to(device)
        maps.append(model(batch))
        if cam.flip:
            maps.append(model(batch.flip(3)).flip(3))
    largest = max((one.shape[2:] for one in maps), key=lambda shape: shape[0])
    maps = [F.interpolate(one, largest, mode="bilinear", align_corners=False) for one in maps]
    mean = torch.stack(maps).mean(dim=0)[0].cpu()
    found = {}
    for c in classes:
        positive = mean[c].clamp(min=0)
        levels = (positive / (positive.max() + 1e-8) * 255).to(torch.uint8).float()
        enlarged = F.interpolate(levels[None, None], image.size[::-1], mode="bicubic")[0, 0]
        found[c] = enlarged.round().clamp(0, 255).to(torch.uint8).numpy()
    return found


@torch.no_grad()
def predict(
    model: nn.Module, photo: Path, preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray]:
    """Return the (H, W) uint8 label and the (L, h, w) logits of a photograph (METHOD 23)."""
    pixels = np.asarray(Image.open(photo).convert("RGB"))
    batch = network_input(pixels, preprocessing)[None].to(next(model.parameters()).device)
    logits = model(batch)
    enlarged = F.interpolate(logits, pixels.shape[:2], mode="bilinear", align_corners=False)
    label = enlarged.softmax(dim=1).argmax(dim=1)[0]
    return label.cpu().numpy().astype(np.uint8), logits[0].cpu().numpy()


def saliency_map(
    session: onnxruntime.InferenceSession, photo: Path, settings: SaliencyModel
) -> np.ndarray:
    """Return the (H, W) uint8 saliency of a photograph, as U2-Net's own inference does it."""
    image, side = Image.open(photo).convert("RGB"), settings.input_size
    pixels = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS), np.float32)
    divisor = pixels.max() if settings.divide_by == "maximum" else settings.divide_by
    values = (pixels / divisor - np.array(settings.mean)) / np.array(settings.std)
    batch = values.transpose(2, 0, 1)[None].astype(np.float32)
    output = session.run(None, {session.get_inputs()[0].name: batch})[0][0, 0]
    grey = (output - output.min()) / (output.max() - output.min()) * 255
    small = Image.fromarray(grey.astype(np.uint8))
    return np.asarray(small.resize(image.size, Image.Resampling.LANCZOS))


# Dense CRF ----------------------------------------------------------------------------------------


def crf_label(photo: np.ndarray, logits: np.ndarray, settings: Crf) -> np.ndarray:
    """Return the (H, W) uint8 label after the dense CRF of all L labels (METHOD 24-25).

    `photo` is (H, W, 3) uint8 RGB, `logits` are (L, h, w).
    """
    height, width = photo.shape[:2]
    scores = torch.from_numpy(logits.astype(np.float32))[None]
    scores = F.interpolate(scores, (height, width), mode="bilinear", align_corners=False)[0]
    unary = -scores.softmax(dim=0).clamp(1e-5, 1).log().numpy()
    if settings.image == "legacy":
        centered = photo[:, :, ::-1] - np.array(CAFFE_BGR.mean, np.float32)
        photo = centered.astype(np.int64).astype(np.uint8)
    crf = DenseCRF2D(width, height, len(logits))
    crf.setUnaryEnergy(unary.reshape(len(logits), -1).copy())
    crf.addPairwiseGaussian(sxy=settings.gaussian_xy, compat=settings.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=settings.bilateral_xy,
        srgb=settings.bilateral_rgb,
        rgbim=photo.copy(),
        compat=settings.bilateral_weight,
    )
    marginals = np.array(crf.inference(settings.iterations)).reshape(-1, height, width)
    return marginals.argmax(axis=0).astype(np.uint8)
