"""The one typed description of all settings: types, defaults, limits, documentation."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from i2crc.runtime.addresses import hide
from i2crc.runtime.errors import InputError

# Snakemake takes braces in a path for a wildcard, a script takes a leading - for an option.
PATH = r"^([^{}~\-][^{}]*)?$"
NAME = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"
CLASS_NAME = r"^\S(.*\S)?$"
DIGEST = r"^([0-9a-f]{64})?$"
# Pattern of a text -> what the text must be, in the words of a message.
PATTERNS = {
    PATH: "expected a path without braces that does not begin with - or ~",
    NAME: "expected letters, digits, `.`, `_` and `-`, with no `.` or `-` at the beginning",
    CLASS_NAME: "expected a name without blanks around it",
    DIGEST: "expected the 64 hexadecimal digits, in small letters, that sha256sum prints",
}
QUOTES = (
    "YAML reads yes, no, on, off, true and false as truth values and digits as a number; put words "
    "and names in quotes"
)
PASSWORD = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@")
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def refuse_password(source: str) -> str:
    """Return an address unchanged; raise InputError if it has a user name or password.

    They would get into logs and manifests.
    """
    if PASSWORD.match(source):
        raise InputError(
            "an address with a user name or password in it would stand in logs, manifests and the "
            "report; leave it out there and write it into ~/.netrc, which is read"
        )
    return source


def _without_secrets(source: str) -> str:
    """Return an address with its query hidden; refuse a password in it."""
    try:
        return hide(refuse_password(source))
    except InputError as error:
        raise PydanticCustomError("secret", "{why}", {"why": str(error)}) from None


def _number_from_text(value: Any) -> Any:
    # Snakemake passes the numbers of a nested --config as text, which Literal would refuse.
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else value


Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Scale = Annotated[float, Field(gt=0)]
Grey = Annotated[int, Field(ge=0, le=255)]
OutputStride = Annotated[Literal[8, 16, 32], BeforeValidator(_number_from_text)]
Source = Annotated[str, AfterValidator(_without_secrets), Field(pattern=PATH)]
ClassName = Annotated[str, Field(pattern=CLASS_NAME)]
Sha256 = Annotated[str, Field(pattern=DIGEST)]


class Section(BaseModel):
    """A group of settings; a key that is not described here is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_ambiguous(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse values that pydantic or a shell would understand differently than the user."""
        items = value if isinstance(value, list) else [value]
        wanted = cls.model_fields[str(info.field_name)].annotation
        if wanted is not bool and any(isinstance(item, bool) for item in items):
            raise PydanticCustomError("truth_value", QUOTES)
        if any(isinstance(item, str) and CONTROL.search(item) for item in items):
            raise PydanticCustomError("control", "control characters and line breaks are refused")
        return value


def setting(default: Any, description: str, **constraints: Any) -> Any:
    """Return a field with a default, a description for CONFIG.md, and limits."""
    return Field(default, description=description, **constraints)


class Demo(Section):
    """The data set that the pipeline draws if dataset.root is empty."""

    train: Positive = setting(240, "training images to draw")
    val: Positive = setting(80, "validation images to draw")
    size: int = setting(128, "image side in pixels", ge=64)


class Dataset(Section):
    """An image folder, label lists, class names and, to score, a mask folder."""

    name: str = setting(
        "",
        "name of the data set; weights that have seen its masks are refused",
    )
    root: str = setting(
        "", "data set folder (VOC layout); empty: the embedded demo is drawn", pattern=PATH
    )
    images: str = setting("JPEGImages", "folder of the photographs, below root")
    image_suffix: str = setting(".jpg", "file name ending of a photograph")
    masks: str = setting(
        "SegmentationClassAug", "folder of the ground-truth masks, below root; empty: none"
    )
    classes: list[ClassName] = setting(
        [], "names of the foreground classes, in label order; empty: those in root's classes.txt"
    )
    train_list: str = setting(
        "train_cls.txt",
        "training images, below root: `id class class ...`, classes by number from 0 or by name; a "
        "name that ends in .csv: the same as CSV (ids may then have spaces)",
    )
    val_list: str = setting("val_cls.txt", "validation images, below root: `id` or `id class ...`")
    test_list: str = setting(
        "", "images to predict for a test server, below root: an `id` a line; empty: none"
    )
    labels_from: Literal["list", "masks"] = setting(
        "list",
        "where image-level labels come from: the list, or the classes in the masks",
    )
    max_pixels: int = setting(
        16_000_000,
        "larger photographs are refused; with 20 classes the dense CRF needs about 1.1 kB of "
        "memory per pixel, in each of its workers",
        ge=1,
        le=1 << 27,
    )
    limit: int | None = setting(None, "use only the first N images of each list, for a trial", ge=1)
    demo: Demo = Demo()

    @model_validator(mode="after")
    def _classes_differ(self) -> "Dataset":
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if twice:
            raise ValueError(f"dataset.classes has {', '.join(twice)} twice; name each class once")
        return self


class Saliency(Section):
    """Where the saliency maps come from."""

    source: Source = setting(
        "",
        "http(s)://, s3:// or file:// archive (tar.gz, zip), or a folder; empty: the folder "
        "`saliency` below dataset.root (the demo: its own archive)",
    )
    sha256: Sha256 = setting("", "SHA-256 of the archive; empty: not checked")
    retries: int = setting(5, "tries after a failed transfer", ge=0)


class Weights(Section):
    """Where pretrained weights come from."""

    source: Literal["random", "torchvision", "timm", "file", "package"] = setting(
        "torchvision",
        "random, torchvision, timm, file (.safetensors, .pth), or a package that contains them",
    )
    name: str = setting(
        "", "torchvision weights (IMAGENET1K_V1), timm tag, file path, or package name"
    )
    sha256: Sha256 = setting("", "SHA-256 of the weight file; empty: not checked")
    masks_seen: list[str] = setting(
        [], "names of the data sets whose ground-truth masks these weights were trained on"
    )


class Optimizer(Section):
    """The optimiser and its parameter groups."""

    name: Literal["sgd", "adamw"] = setting("sgd", "sgd or adamw")
    learning_rate: float = setting(1e-3, "learning rate of the backbone's weights", gt=0)
    head_factor: float = setting(10.0, "learning rate of the head / that of the backbone", gt=0)
    bias_factor: float = setting(2.0, "learning rate of biases / that of their weights", gt=0)
    momentum: Fraction = setting(0.9, "momentum (sgd)")
    nesterov: bool = setting(True, "Nesterov momentum (sgd)")
    weight_decay: float = setting(5e-4, "weight decay of every parameter", ge=0)


class Schedule(Section):
    """The learning rate over the training."""

    name: Literal["step", "poly"] = setting(
        "step", "step: x gamma at milestones; poly: (1 - n/N)^power"
    )
    milestones: list[int] = setting(
        [5, 10], "epochs (0-based) at whose start step multiplies by gamma"
    )
    gamma: float = setting(0.1, "factor at a milestone", gt=0)
    power: float = setting(0.9, "exponent of poly", gt=0)
    hold: Positive = setting(1, "poly changes the rate every `hold` iterations")


class RelationLosses(Section):
    """Weights of the inter- and intra-class relation terms (METHOD 8-9); 0 switches a term off."""

    foreground: float = setting(0.01, "compactness of each class within the salient region", ge=0)
    background: float = setting(0.025, "compactness within the background", ge=0)
    class_gap: float = setting(0.1, "distance between foreground and background prototypes", ge=0)


class Training(Section):
    """Settings that both trainings share."""

    batch_size: Positive = setting(5, "images of one forward pass, over all processes")
    accumulate: Positive = setting(1, "forward passes for one optimiser step")
    batch_norm: Literal["train", "freeze"] = setting(
        "train", "train, or freeze the running statistics"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto", "auto: bf16 if the GPU supports it, fp16 on older GPUs, fp32 on the CPU"
    )
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()


class Classifier(Training):
    """The classification network and its training (METHOD 2-11)."""

    backbone: str = setting("vgg16", "vgg16 (the published VGG16-CAM) or any timm model")
    output_stride: OutputStride = setting(8, "image pixels per CAM pixel")
    backbone_stage: int | None = setting(
        None, "cut a timm backbone off after this feature map (0: stride 2); null: whole", ge=0
    )
    weights: Weights = Weights()
    head_convs: int = setting(3, "3x3 convolutions before the 1x1 classifier", ge=0)
    head_channels: Positive = setting(512, "channels of those convolutions")
    head_std: float | None = setting(
        None, "initial standard deviation of the head; null: sqrt(2 / (k*k*out)) (METHOD 6)", gt=0
    )
    input_size: int = setting(256, "images are resized to a square of this side", ge=32)
    color_jitter: list[float] = setting(
        [0.3, 0.3, 0.3, 0.1], "brightness, contrast, saturation, hue", min_length=4, max_length=4
    )
    flip: bool = setting(False, "mirror half of the images")
    epochs: Positive = setting(30, "passes over the training list")
    max_iterations: int | None = setting(
        None, "stop after this many iterations at the latest", ge=1
    )
    relation_losses: RelationLosses = RelationLosses()

    @model_validator(mode="after")
    def _vgg16_has_one_stride(self) -> "Classifier":
        if self.backbone == "vgg16" and self.output_stride != 8:
            raise ValueError(
                f"classifier.output_stride is {self.output_stride}: vgg16 has 8; "
                "choose a timm backbone"
            )
        return self


class Cam(Section):
    """CAM inference (METHOD 12)."""

    flip: bool = setting(False, "average with the mirrored image")
    scales: list[Scale] = setting(
        [1.0], "average over these multiples of the input size", min_length=1
    )


class PseudoLabels(Section):
    """Thresholds of label generation (METHOD 13-16)."""

    attention_threshold: Fraction = setting(
        0.3, "attention and background score below this become background"
    )
    conflict_threshold: Fraction = setting(0.9, "more than one channel above this: ignore")
    object_threshold: Fraction = setting(
        0.5, "background where a class's attention is above this: ignore"
    )
    salient_value: Grey = setting(32, "background where the saliency is at least this: ignore")
    min_foreground: Fraction = setting(
        0.01, "less foreground than this share: the whole image is ignored"
    )


class Refinement(Section):
    """Object-guided label refinement (METHOD 27)."""

    min_foreground: Fraction = setting(
        0.01, "less foreground than this share: the whole image is ignored"
    )


class Segmentation(Training):
    """The segmentation network and its trainings (METHOD 17-22)."""

    batch_size: Positive = setting(5, "images of one forward pass, over all processes")
    accumulate: Positive = setting(2, "forward passes for one optimiser step")
    optimizer: Optimizer = Optimizer(
        learning_rate=2.5e-4, head_factor=1.0, bias_factor=1.0, nesterov=False
    )
    schedule: Schedule = Schedule(name="poly", hold=10)
    supervision: Literal["pseudo", "full"] = setting(
        "pseudo", "pseudo: generated labels; full: ground-truth masks (the ceiling to compare with)"
    )
    backbone: str = setting("resnet101", "resnet101 (the published DeepLabV2) or any timm model")
    output_stride: OutputStride = setting(8, "image pixels per logit")
    backbone_stage: int | None = setting(
        None, "cut a timm backbone off after this feature map (0: stride 2); null: whole", ge=0
    )
    weights: Weights = Weights()
    preprocessing: Literal["weights", "caffe_bgr"] = setting(
        "weights",
        "weights: what the pretrained weights expect; caffe_bgr: the published BGR minus mean",
    )
    aspp_rates: list[int] = setting([6, 12, 18, 24], "dilations of the ASPP branches", min_length=1)
    scales: list[Scale] = setting(
        [1.0, 0.5, 0.75], "input scales of the multi-scale network (MSC), 1.0 first", min_length=1
    )
    crop_size: int = setting(321, "side of the training crop", ge=32)
    scale_jitter: list[Scale] = setting(
        [0.5, 0.75, 1.0, 1.25, 1.5], "random image scales", min_length=1
    )
    flip: bool = setting(True, "mirror half of the images")
    iterations: Positive = setting(20_000, "optimiser steps")

    @model_validator(mode="after")
    def _buildable(self) -> "Segmentation":
        if self.backbone == "resnet101" and self.output_stride != 8:
            raise ValueError(
                f"segmentation.output_stride is {self.output_stride}: resnet101 has 8; "
                "choose a timm backbone"
            )
        if self.scales[0] != 1:
            raise ValueError(f"segmentation.scales is {self.scales}: the first must be 1.0")
        return self


class Crf(Section):
    """Dense CRF (METHOD 24-25)."""

    iterations: Positive = setting(10, "mean-field iterations")
    gaussian_weight: float = setting(3.0, "weight of the smoothness kernel", ge=0)
    gaussian_xy: float = setting(1.0, "its spatial standard deviation in pixels", gt=0)
    bilateral_weight: float = setting(4.0, "weight of the appearance kernel", ge=0)
    bilateral_xy: float = setting(67.0, "its spatial standard deviation in pixels", gt=0)
    bilateral_rgb: float = setting(3.0, "its colour standard deviation in grey levels", gt=0)
    image: Literal["real", "legacy"] = setting(
        "real",
        "real: the photograph; legacy: the published mean-subtracted BGR image wrapped to uint8",
    )


class Sweeps(Section):
    """Values that the threshold sweeps try on the training images, besides the configured one."""

    cam_background: list[Fraction] = setting(
        [round(0.05 * n, 2) for n in range(1, 17)], "background score of a CAM"
    )
    attention_threshold: list[Fraction] = setting(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], "pseudo_labels.attention_threshold"
    )
    conflict_threshold: list[Fraction] = setting(
        [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0], "pseudo_labels.conflict_threshold"
    )
    object_threshold: list[Fraction] = setting(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "pseudo_labels.object_threshold"
    )
    salient_value: list[Grey] = setting(
        [8, 16, 32, 64, 96, 128, 192, 255], "pseudo_labels.salient_value"
    )


class Evaluation(Section):
    """Scoring, sweeps and pictures."""

    cam_background: Fraction = setting(
        0.2, "background score that a CAM must exceed to count as its class"
    )
    boundary_width: float = setting(
        0.02, "width of the band of boundary IoU, as a share of the image's diagonal", gt=0, le=1
    )
    bootstrap: Positive = setting(1000, "bootstrap replicates of a confidence interval")
    saliency_threshold: Fraction = setting(
        0.5, "saliency from which a pixel counts as foreground when the maps are scored"
    )
    sweeps: Sweeps = Sweeps()
    leak_images: int = setting(
        3, "pseudo labels equal to the ground truth on more images than this: error", ge=0
    )
    allow_leaks: bool = setting(
        False, "continue if ground truth leaks into training; every table then shows a warning"
    )
    sheet_images: Positive = setting(4, "images of each kind (best, median, worst) in the report")
    submission: Literal["crf", "prediction"] = setting(
        "crf", "what goes to the test server: predictions after or before the CRF"
    )


class Compare(Section):
    """Experiments to compare (target compare)."""

    experiments: list[str] = setting([], "result folders to compare; the first one is the baseline")


class Checkpoint(Section):
    """A published segmentation checkpoint to evaluate (target evaluate_checkpoint)."""

    source: Source = setting(
        "https://icrc.oss-cn-shanghai.aliyuncs.com/checkpoint_69.3.pth",
        "URL (http(s)://, s3://) or file of the checkpoint",
    )
    sha256: Sha256 = setting("", "SHA-256 of the file; empty: not checked")


class Runtime(Section):
    """How a run uses the machine; nothing here changes a result or makes a stage stale."""

    training_threads: Positive = setting(
        16,
        "CPU threads of a training, at most the given cores (deterministic: exactly this many)",
    )
    inference_threads: Positive = setting(
        4, "CPU threads of an inference shard, at most the given cores"
    )
    gpus: Positive = setting(1, "GPUs of a training, at most those of the run")
    nodes: Positive = setting(
        1, "nodes of a training (only with SLURM); each gets an equal part of `gpus`"
    )
    workers: int = setting(1, "data-loading processes of a training (0: none)", ge=0)
    log_seconds: float = setting(15.0, "seconds between two log lines of a training", gt=0)
    checkpoint_seconds: float = setting(
        300.0, "seconds between two checkpoints of a training", gt=0
    )
    picture_iterations: Positive = setting(
        200, "iterations between two sample predictions in TensorBoard"
    )
    cache: str = setting(
        "",
        "folder that experiments, clones and users may share: archives and checkpoints with a "
        "`sha256`, pretrained weights, facts about decoded images; empty: each has its own",
        pattern=PATH,
    )

    @model_validator(mode="after")
    def _equal_parts(self) -> "Runtime":
        if self.nodes > 1 and self.gpus % self.nodes:
            raise ValueError(
                f"runtime.gpus: {self.gpus} cannot be shared out equally to {self.nodes} nodes; "
                f"give a multiple of {self.nodes} (on nodes without GPUs, too)"
            )
        return self


class Config(Section):
    """All settings of a run."""

    preset: Literal["default", "paper"] = setting(
        "default", "default: what we recommend; paper: exactly the published computation"
    )
    experiment: str = setting(
        "demo", "name of the folder below results", pattern=NAME, max_length=100
    )
    results: str = setting("results", "folder of all outputs", pattern=PATH, min_length=1)
    seed: int = setting(0, "seed of everything random", ge=0)
    deterministic: bool = setting(
        False,
        "bitwise reproducible: deterministic GPU kernels, a fixed number of CPU threads (slower)",
    )
    shards: Positive = setting(4, "parts into which per-image stages are split", le=10_000)
    dataset: Dataset = Dataset()
    saliency: Saliency = Saliency()
    classifier: Classifier = Classifier()
    cam: Cam = Cam()
    pseudo_labels: PseudoLabels = PseudoLabels()
    segmentation: Segmentation = Segmentation()
    crf: Crf = Crf()
    refinement: Refinement = Refinement()
    evaluation: Evaluation = Evaluation()
    compare: Compare = Compare()
    checkpoint: Checkpoint = Checkpoint()
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _masks_where_needed(self) -> "Config":
        if self.dataset.labels_from == "masks" and not self.dataset.masks:
            raise ValueError("dataset.labels_from: masks needs dataset.masks")
        if self.segmentation.supervision == "full" and not self.dataset.masks:
            raise ValueError("segmentation.supervision: full needs dataset.masks")
        return self
