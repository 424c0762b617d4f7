"""The one typed description of all settings: types, defaults, limits, documentation."""

import re
import unicodedata
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

from i2crc.runtime.addresses import hide
from i2crc.runtime.errors import InputError

# A script takes a leading - for an option, Snakemake takes braces in an output for a wildcard.
PATH = r"^([^~\-].*)?$"
OUTPUTS = r"^[^{}~\-][^{}]*$"
NAME = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"
CLASS_NAME = r"^\S(.*\S)?$"
DIGEST = r"^([0-9a-f]{64})?$"
MASK_NAME = r"^[^{}/]*\{id\}[^{}/]*$"
# The variant of an ablation that changes nothing; settings that an ablation sets for each run.
BASE = "base"
OF_THE_RUN = {"experiment", "results", "seed", "ablation"}
# The label of class n is n + 1, in 8 bits, and 255 means ignored.
MOST_CLASSES = 254
# No JPEG has a longer side.
MOST_PIXELS = 1 << 16
CUT_OFF = "cut a timm backbone off after this feature map (0: stride 2); null: whole"
# Pattern of a text -> what the text must be, in the words of a message.
PATTERNS = {
    PATH: "a path must not begin with - or ~; write ./ before it, or the whole path",
    OUTPUTS: "expected a path without braces that does not begin with - or ~",
    NAME: "expected letters, digits, `.`, `_` and `-`, with no `.` or `-` at the beginning",
    CLASS_NAME: "expected a name without blanks around it",
    DIGEST: "expected the 64 hexadecimal digits, in small letters, that sha256sum prints",
    MASK_NAME: "expected a file name with {id} in it, such as mask_{id}.png",
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
        raise ValueError(str(error)) from None


def composed(name: str) -> str:
    """Return the name of a class in Unicode's form NFC; names of files on macOS are in NFD."""
    return unicodedata.normalize("NFC", name)


def _number_from_text(value: Any) -> Any:
    # Snakemake passes the numbers of a nested --config as text, which Literal would refuse.
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _half_a_circle(strengths: list[float]) -> list[float]:
    if strengths[3] > 0.5:
        raise ValueError("the hue, the last one, is turned by at most 0.5, which is half a circle")
    return strengths


Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
# The marginals of a CRF are not finite with a huge one.
Weight = Annotated[float, Field(ge=0, le=1e6)]
AboveZero = Annotated[float, Field(gt=0)]
# pydensecrf crashes at a smaller one.
Width = Annotated[float, Field(ge=1e-3)]
LARGEST_SCALE = 4  # of a photograph
PhotoScales = Annotated[
    list[Annotated[float, Field(gt=0, le=LARGEST_SCALE)]], Field(min_length=1, max_length=16)
]
Scales = Annotated[list[Annotated[float, Field(gt=0, le=16)]], Field(min_length=1, max_length=16)]
ColorJitter = Annotated[
    list[NotNegative], Field(min_length=4, max_length=4), AfterValidator(_half_a_circle)
]
Grey = Annotated[int, Field(ge=0, le=255)]
OutputStride = Annotated[Literal[8, 16, 32], BeforeValidator(_number_from_text)]
LastStage = Annotated[int | None, Field(ge=0)]
Folder = Annotated[str, Field(pattern=PATH)]
Source = Annotated[str, AfterValidator(_without_secrets), Field(pattern=PATH)]
VariantName = Annotated[str, Field(pattern=NAME, max_length=60)]
ClassName = Annotated[str, AfterValidator(composed), Field(pattern=CLASS_NAME)]
Sha256 = Annotated[str, Field(pattern=DIGEST)]


def problem_of_classes(names: list[str]) -> tuple[str, str] | None:
    """Return what is wrong with the names of the foreground classes, and the remedy."""
    if len(names) > MOST_CLASSES:
        remedy = f"give at most {MOST_CLASSES}: labels have 8 bits, 0 is background, 255 is ignored"
        return f"has {len(names)} names", remedy
    for name in names:
        if CONTROL.search(name):
            return f"has {name!r}, which is no printable text", "rename it"
        if name.startswith("."):
            return f"has {name}, which is a hidden file and no class", "take it out"
        if name.casefold() == "background":
            remedy = "take it out; the numbers of the classes start at the first object"
            return f"has {name}, which is no class: every image has it, as label 0", remedy
        if names.count(name) > 1:
            return f"has {name} twice", "name each class once"
    return None


class Section(BaseModel):
    """A group of settings; a key that is not described here is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_ambiguous(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse values that pydantic or a shell would understand differently than the user."""
        is_flag = cls.model_fields[str(info.field_name)].annotation is bool
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bool) and not is_flag:
                raise ValueError(QUOTES)
            if isinstance(item, str) and CONTROL.search(item):
                raise ValueError("control characters and line breaks are refused")
        return value


# What the other formats than voc have in place of the defaults of `Dataset`.
FORMATS: dict[str, dict[str, str]] = {
    "voc": {},
    "folders": {"images": "", "masks": "", "train_list": "", "val_list": ""},
    "csv": {"images": "", "masks": "", "train_list": "labels.csv", "val_list": ""},
    "coco": {"images": "", "masks": "", "train_list": "annotations.json", "val_list": ""},
    "voc-xml": {"masks": "", "train_list": "Annotations", "val_list": ""},
}


def setting(default: Any, description: str, **constraints: Any) -> Any:
    """Return a field with a default, a description for CONFIG.md, and limits."""
    return Field(default, description=description, **constraints)


class Demo(Section):
    """The data set that the pipeline draws if dataset.root is empty."""

    train: Positive = setting(240, "training images to draw")
    val: Positive = setting(80, "validation images to draw")
    size: int = setting(128, "image side in pixels", ge=64)


class Dataset(Section):
    """Photographs with image-level labels, class names and, to score, masks (docs/DATA.md)."""

    name: str = setting("", "name of the data set; weights that have seen its masks are refused")
    root: Folder = setting("", "data set folder (VOC layout); empty: the embedded demo is drawn")
    format: Literal["voc", "folders", "csv", "coco", "voc-xml"] = setting(
        "voc",
        "how photographs get their labels: voc: lists of ids; folders: a folder for each class; "
        "csv: tables of files and labels; coco: annotation JSON; voc-xml: an XML for each",
    )
    images: str = setting("JPEGImages", "folder of the photographs, below root")
    image_suffix: str = setting(
        ".jpg", "file name ending of a photograph (voc; the other formats take every photograph)"
    )
    masks: str = setting("SegmentationClassAug", "ground-truth masks, below root; empty: none")
    mask_pattern: str = setting(
        "{id}.png", "file name of a mask, where {id} is the image's", pattern=MASK_NAME
    )
    binary_masks: bool = setting(
        False, "every value of a mask but 0 (255 too) means the one class of its photograph"
    )
    trusted_masks: Folder = setting(
        "",
        "folder with masks, drawn by hand, of some training photographs, below root (or its whole "
        "path): they replace the pseudo labels of these; empty: none",
    )
    corrections: Folder = setting(
        "",
        "file of corrections that the gallery saved, below root (or its whole path): training "
        "photographs to leave out, and the classes of others; empty: none",
    )
    classes: list[ClassName] = setting([], "foreground, in label order; empty: root's classes.txt")
    train_list: str = setting(
        "train_cls.txt",
        "training images, below root: `id class class ...`, classes by number from 0 or by name; a "
        "name that ends in .csv: the same as CSV (ids may then have spaces)",
    )
    val_list: str = setting(
        "val_cls.txt", "validation images, below root: `id` or `id class ...`; empty: none"
    )
    dev_list: str = setting(
        "",
        "photographs with masks, below root, that are in no other list: the weights with the "
        "highest mIoU on them are kept (segmentation.validations); empty: the last ones are",
    )
    test_list: str = setting("", "test server's images, below root: an `id` a line; empty: none")
    val_share: Annotated[float, Field(ge=0, le=0.9)] = setting(
        0.2,
        "share of the photographs that is drawn for validation if val_list is empty; 0: none "
        "(voc: never drawn)",
    )
    split_seed: int = setting(0, "another seed draws other photographs", ge=0)
    labels_from: Literal["list", "masks"] = setting(
        "list", "where image-level labels come from: the list, or the classes in the masks"
    )
    max_side: int = setting(
        1024,
        "all stages work on a smaller copy of a photograph whose longer side is above this many "
        "pixels; its labels are brought back to its own size; 0: never",
        ge=0,
        le=MOST_PIXELS,
    )
    max_pixels: int = setting(
        100_000_000, "larger photographs are refused before they are decoded", ge=1, le=1 << 27
    )
    limit: int | None = setting(None, "use only the first N images of each list, for a trial", ge=1)
    demo: Demo = Demo()

    @property
    def is_drawn(self) -> bool:
        """Whether the split val is drawn from the training photographs."""
        return self.format != "voc" and not self.val_list and self.val_share > 0

    @property
    def splits(self) -> list[str]:
        """The splits that the data set has, of train, val, dev and test."""
        given = [s for s in ("val", "dev", "test") if getattr(self, f"{s}_list")]
        return ["train", *(["val"] if self.is_drawn else []), *given]


class SaliencyModel(Section):
    """The network that computes saliency maps; the defaults are those of U2-Net-p."""

    path: Folder = setting("", "its ONNX file; empty: U2-Net-p, which is installed with the rest")
    sha256: Sha256 = setting("", "SHA-256 of that file; empty: not checked")
    input_size: int = setting(320, "photographs are resized to a square of this side", ge=32)
    divide_by: Annotated[Literal["maximum", 255], BeforeValidator(_number_from_text)] = setting(
        "maximum", "the pixels are divided by the largest value of their photograph, or by 255"
    )
    mean: list[float] = setting(
        [0.485, 0.456, 0.406], "subtracted from R, G, B after that", min_length=3, max_length=3
    )
    std: list[AboveZero] = setting(
        [0.229, 0.224, 0.225], "R, G, B are divided by it at last", min_length=3, max_length=3
    )


def _refuse_place(source: Any) -> Any:
    if source not in ("", "model", "archive", "folder"):
        raise ValueError(
            "expected model, archive or folder; an address or a folder of saliency maps is given "
            "as saliency.location"
        )
    return source


class Saliency(Section):
    """Where the saliency maps come from."""

    source: Annotated[Literal["", "model", "archive", "folder"], BeforeValidator(_refuse_place)] = (
        setting(
            "",
            "model: a network computes them; archive, folder: they are at `location`; empty: that "
            "of `location` if it is given, else the folder `saliency` below dataset.root, else "
            "model (the demo: its own archive)",
        )
    )
    location: Source = setting(
        "",
        "http(s)://, s3:// or file:// archive (tar.gz, zip), or a folder; empty: the folder "
        "`saliency` below dataset.root",
    )
    sha256: Sha256 = setting("", "SHA-256 of the archive; empty: not checked")
    retries: int = setting(5, "tries after a failed transfer", ge=0)
    model: SaliencyModel = SaliencyModel()


class Weights(Section):
    """Where pretrained weights come from."""

    source: Literal["random", "torchvision", "timm", "file", "package"] = setting(
        "torchvision", "file: .safetensors or .pth; package: a Python package that contains them"
    )
    name: str = setting("", "torchvision weights (IMAGENET1K_V1), timm tag, file, or package")
    sha256: Sha256 = setting("", "SHA-256 of the weight file; empty: not checked")
    masks_seen: list[str] = setting([], "data sets whose masks these weights were trained on")


class Optimizer(Section):
    """The optimiser and its parameter groups."""

    name: Literal["sgd", "adamw"] = setting("sgd", "sgd or adamw")
    learning_rate: AboveZero = setting(1e-3, "learning rate of the backbone's weights")
    head_factor: AboveZero = setting(
        10.0, "learning rate of the head, divided by that of the backbone"
    )
    bias_factor: AboveZero = setting(
        2.0, "learning rate of biases, divided by that of their weights"
    )
    momentum: Fraction = setting(0.9, "momentum (sgd)")
    nesterov: bool = setting(True, "Nesterov momentum (sgd)")
    weight_decay: NotNegative = setting(5e-4, "weight decay of every parameter")


class Schedule(Section):
    """The learning rate over the training."""

    name: Literal["step", "poly"] = setting("step", "step: x gamma; poly: (1 - n/N)^power")
    milestones: list[int] = setting([5, 10], "epochs (0-based) where step multiplies by gamma")
    gamma: AboveZero = setting(0.1, "factor at a milestone")
    power: AboveZero = setting(0.9, "exponent of poly")
    hold: Positive = setting(1, "poly changes the rate every `hold` iterations")


class RelationLosses(Section):
    """Weights of the inter- and intra-class relation terms (METHOD 8-9); 0 switches a term off."""

    foreground: NotNegative = setting(0.01, "compactness of each class within the salient region")
    background: NotNegative = setting(0.025, "compactness within the background")
    class_gap: NotNegative = setting(0.1, "distance between foreground and background prototypes")


class Training(Section):
    """Settings that both trainings share."""

    batch_size: Positive = setting(5, "images of one forward pass, over all processes")
    accumulate: Positive = setting(1, "forward passes for one optimiser step")
    batch_norm: Literal["train", "freeze"] = setting("train", "freeze: keep running statistics")
    freeze_stages: int = setting(
        0, "first feature maps of the backbone (1: stride 2, 2: stride 4) that learn nothing", ge=0
    )
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = setting(
        "auto",
        "auto: bf16 if the GPU supports it, fp16 on older GPUs; on a CPU bf16 if it has units for "
        "it (AVX512-BF16, AMX) and a few timed steps show that it is faster, else fp32 "
        "(deterministic: always fp32); tf32: fp32, but products of a GPU's convolutions and "
        "matrices are rounded to 10 bits. The trained network predicts in fp32; on a GPU in fp16, "
        "unless this is fp32 or tf32, or the run deterministic",
    )
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    average_last: Fraction = setting(
        0.0,
        "the trained weights are the mean of those after each of this share of the iterations, the "
        "last ones, which costs no time; needs batch_norm: freeze; 0: the last weights, as "
        "published",
    )


class Classifier(Training):
    """The classification network and its training (METHOD 2-11)."""

    backbone: str = setting("vgg16", "vgg16 (the published VGG16-CAM) or any timm model")
    output_stride: OutputStride = setting(8, "image pixels per CAM pixel")
    backbone_stage: LastStage = setting(None, CUT_OFF)
    weights: Weights = Weights()
    head_convs: int = setting(3, "3x3 convolutions before the 1x1 classifier", ge=0)
    head_channels: Positive = setting(512, "channels of those convolutions")
    head_std: AboveZero | None = setting(None, "initial deviation of the head; null: as METHOD 6")
    input_size: int = setting(256, "images are resized to a square of this side", ge=32)
    color_jitter: ColorJitter = setting(
        [0.3, 0.3, 0.3, 0.1],
        "largest random changes of brightness, contrast, saturation and hue; 0: none",
    )
    flip: bool = setting(False, "mirror half of the images")
    epochs: Positive = setting(30, "passes over the training list")
    max_iterations: int | None = setting(None, "stop after this many iterations", ge=1)
    relation_losses: RelationLosses = RelationLosses()


class Cam(Section):
    """CAM inference (METHOD 12)."""

    flip: bool = setting(False, "average with the mirrored image")
    scales: Scales = setting([1.0], "average over these multiples of the input size")


class PseudoLabels(Section):
    """Thresholds of label generation (METHOD 13-16)."""

    attention_threshold: Fraction = setting(
        0.3, "scores of attention and background below this become 0"
    )
    conflict_threshold: Fraction = setting(
        0.9, "where more than one of background and classes scores above this: ignore"
    )
    object_threshold: Fraction = setting(
        0.5, "background where a class has more attention than this: ignore"
    )
    salient_value: Grey = setting(32, "background where the saliency is at least this: ignore")
    min_foreground: Fraction = setting(0.01, "images with less foreground than this are ignored")


class Refinement(Section):
    """Object-guided label refinement (METHOD 27)."""

    min_foreground: Fraction = setting(0.01, "images with less foreground than this are ignored")


class Segmentation(Training):
    """The segmentation network and its trainings (METHOD 17-22)."""

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
    backbone_stage: LastStage = setting(None, CUT_OFF)
    weights: Weights = Weights()
    preprocessing: Literal["weights", "caffe_bgr"] = setting(
        "weights", "weights: what they expect; caffe_bgr: the published BGR minus mean"
    )
    aspp_rates: list[Positive] = setting(
        [6, 12, 18, 24], "dilations of the ASPP branches", min_length=1, max_length=16
    )
    scales: Scales = setting([1.0, 0.5, 0.75], "inputs of the multi-scale network, 1.0 first")
    crop_size: int = setting(321, "side of the training crop", ge=32)
    scale_jitter: Scales = setting([0.5, 0.75, 1.0, 1.25, 1.5], "random image scales")
    flip: bool = setting(True, "mirror half of the images")
    class_balance: Annotated[float, Field(ge=0, le=1)] = setting(
        0.0,
        "how much more the pixels of rare classes count: the loss of a pixel is weighted by the "
        "share of its label among the labelled pixels (at least 0.0001) to the power of minus "
        "this; 0: all pixels count alike, as published",
    )
    iterations: Positive = setting(20_000, "optimiser steps")
    validations: int = setting(
        5,
        "how often a training scores its network on the photographs of dataset.dev_list (at most "
        "100 of them) or hold_out, each time as long as it takes to predict them; 0: never",
        ge=0,
    )
    hold_out: Annotated[float, Field(ge=0, le=0.5)] = setting(
        0.0,
        "share of the training photographs, at most 50 of them, that is left out of the training "
        "to watch the agreement with their labels; 0: none, because each photograph counts where "
        "there are few",
    )


class Predict(Section):
    """Prediction of the segmentation network (METHOD 23)."""

    flip: bool = setting(False, "average with the mirrored photograph")
    scales: PhotoScales = setting(
        [1.0], "average over these multiples of the size; the time grows with their squares"
    )


class Crf(Section):
    """Dense CRF (METHOD 24-25)."""

    iterations: Positive = setting(10, "mean-field iterations")
    gaussian_weight: Weight = setting(3.0, "weight of the smoothness kernel")
    gaussian_xy: Width = setting(1.0, "its spatial standard deviation in pixels")
    bilateral_weight: Weight = setting(4.0, "weight of the appearance kernel")
    bilateral_xy: Width = setting(67.0, "its spatial standard deviation in pixels")
    bilateral_rgb: Width = setting(3.0, "its colour standard deviation in grey levels")
    image: Literal["real", "legacy"] = setting(
        "real", "real: the photograph; legacy: as published, BGR minus mean, wrapped to uint8"
    )
    engine: Literal["lattice", "pydensecrf"] = setting(
        "lattice",
        "what computes it on a CPU; lattice: numba, with the same approximation and in less than "
        "half the time where labels are few; pydensecrf: the published code",
    )
    labels: Literal["all", "likely"] = setting(
        "likely",
        "all: every class takes part, as published; likely: in a training photograph those that it "
        "is labelled with, in others those that reach min_probability, and one label for the rest",
    )
    min_probability: Fraction = setting(
        0.1, "a class whose probability reaches this at some pixel is a label of its own"
    )


class Sweeps(Section):
    """Values that the threshold sweeps try on the training images, besides the configured one.

    `cam_background` is that of evaluation, the others are those of pseudo_labels. The descriptions
    say what a value that is higher or lower than the configured one does to the labels.
    """

    cam_background: list[Fraction] = setting(
        [round(0.05 * n, 2) for n in range(1, 17)],
        "higher: objects shrink to where the attention is strongest; lower: they grow into the "
        "background",
    )
    attention_threshold: list[Fraction] = setting(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
        "higher: objects shrink, and salient pixels with weak attention are ignored; lower: "
        "objects grow into them",
    )
    conflict_threshold: list[Fraction] = setting(
        [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0],
        "higher: the strongest class wins where two compete; lower: more such pixels are ignored",
    )
    object_threshold: list[Fraction] = setting(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        "higher: more pixels with attention stay background; lower: more of them are ignored",
    )
    salient_value: list[Grey] = setting(
        [8, 16, 32, 64, 96, 128, 192, 255],
        "higher: more salient pixels without a class stay background; lower: more of them are "
        "ignored",
    )


class Evaluation(Section):
    """Scoring, sweeps and pictures."""

    cam_background: Fraction = setting(0.2, "background score that the CAM of a class must exceed")
    boundary_width: float = setting(
        0.02, "width of the band of boundary IoU, as a share of the image's diagonal", gt=0, le=1
    )
    bootstrap: Positive = setting(1000, "bootstrap replicates of a confidence interval")
    saliency_threshold: Fraction = setting(0.5, "saliency from which a pixel is foreground")
    sweeps: Sweeps = Sweeps()
    leak_images: int = setting(
        3, "pseudo labels that may equal the ground truth; more are an error", ge=0
    )
    allow_leaks: bool = setting(False, "continue after a leak; every table then shows a warning")
    sheet_images: Positive = setting(4, "images of each kind (best, median, worst) in the report")
    submission: Literal["crf", "prediction"] = setting(
        "crf", "what the test server gets: predictions after or before the CRF"
    )


class Compare(Section):
    """Experiments to compare (target compare)."""

    experiments: list[str] = setting([], "result folders to compare; the first one is the baseline")


class Ablation(Section):
    """Variants of these settings, each run with several seeds (target ablation)."""

    seeds: list[Annotated[int, Field(ge=0)]] = setting(
        [0, 1, 2], "seeds of the runs of each variant, and of the settings without a change (base)"
    )
    variants: dict[VariantName, dict[str, Any]] = setting(
        {}, "name of a variant -> the settings that it changes, such as `{crf: {labels: all}}`"
    )

    @field_validator("seeds")
    @classmethod
    def _refuse_bad_seeds(cls, seeds: list[int]) -> list[int]:
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError("give one seed or more, each once")
        return seeds

    @field_validator("variants")
    @classmethod
    def _refuse_bad_variants(cls, variants: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if BASE in variants:
            raise ValueError(f"`{BASE}` is the name of the settings without a change; rename it")
        for name, changes in variants.items():
            for key in sorted(OF_THE_RUN & changes.keys()):
                raise ValueError(
                    f"the variant {name} changes `{key}`, which the ablation sets for each run; "
                    "take it out"
                )
        return variants


class Checkpoint(Section):
    """A published segmentation checkpoint to evaluate (target evaluate_checkpoint)."""

    source: Source = setting(
        "https://icrc.oss-cn-shanghai.aliyuncs.com/checkpoint_69.3.pth",
        "URL (http(s)://, s3://) or file of the checkpoint",
    )
    sha256: Sha256 = setting("", "SHA-256 of the file; empty: not checked")


class Runtime(Section):
    """How a run uses the machine; nothing here makes a stage stale or changes more than digits."""

    training_threads: Positive = setting(
        16, "CPU threads of a training, at most the given cores (deterministic: exactly this many)"
    )
    inference_threads: Positive = setting(4, "CPU threads of a shard, at most the given cores")
    gpus: Positive = setting(1, "GPUs of a training, at most those of the run")
    crf_on_gpu: bool = setting(
        False, "compute the dense CRF in PyTorch on a GPU where there is one, else on the cores"
    )
    nodes: Positive = setting(1, "nodes of a training (SLURM); each gets an equal part of `gpus`")
    workers: int | None = setting(
        None,
        "data-loading processes of each process of a training (0: none); null: 1 on the CPU, on a "
        "GPU one for each CPU thread but one, at most 8",
        ge=0,
    )
    compile: bool = setting(
        False,
        "compile the network of a training of one process, on a GPU into CUDA graphs; this takes "
        "minutes and rounds differently",
    )
    log_seconds: AboveZero = setting(15.0, "seconds between two log lines of a training")
    checkpoint_seconds: AboveZero = setting(300.0, "seconds between two checkpoints")
    picture_iterations: Positive = setting(200, "iterations between two pictures in TensorBoard")
    keep_trainings: Positive = setting(
        3, "newest trainings of each network that stay on disk: their settings train nothing again"
    )
    cache: Folder = setting(
        "",
        "folder that experiments, clones and users may share: archives and checkpoints with a "
        "`sha256`, pretrained weights; empty: each has its own",
    )


class Config(Section):
    """All settings of a run."""

    preset: Literal["default", "paper"] = setting(
        "default", "default: what we recommend; paper: exactly the published computation"
    )
    experiment: str = setting("demo", "folder below results", pattern=NAME, max_length=100)
    results: str = setting("results", "folder of all outputs", pattern=OUTPUTS)
    seed: int = setting(0, "seed of everything random", ge=0)
    deterministic: bool = setting(
        False, "bitwise reproducible: deterministic GPU kernels, fixed CPU threads (slower)"
    )
    shards: Positive = setting(
        1,
        "parts into which per-image stages are split; each is a job of runtime.inference_threads "
        "that starts for some seconds: more parts than 1 pay with many photographs on more cores, "
        "several GPUs or a cluster",
        le=10_000,
    )
    rounds: Literal[1, 2] = setting(
        2,
        "trainings of the segmentation network; 2: the final network learns from the refined "
        "labels, as published; 1: the network that learnt from the initial labels is the final one",
    )
    dataset: Dataset = Dataset()
    saliency: Saliency = Saliency()
    classifier: Classifier = Classifier()
    cam: Cam = Cam()
    pseudo_labels: PseudoLabels = PseudoLabels()
    segmentation: Segmentation = Segmentation()
    prediction: Predict = Predict()
    crf: Crf = Crf()
    refinement: Refinement = Refinement()
    evaluation: Evaluation = Evaluation()
    compare: Compare = Compare()
    ablation: Ablation = Ablation()
    checkpoint: Checkpoint = Checkpoint()
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> "Config":
        """Refuse settings that are valid alone, but not together."""
        dataset, classifier, segmentation = self.dataset, self.classifier, self.segmentation
        gpus, nodes = self.runtime.gpus, self.runtime.nodes
        if problem := problem_of_classes(dataset.classes):
            raise ValueError(f"dataset.classes {'; '.join(problem)}")
        if self.saliency.source == "model" and self.saliency.location:
            raise ValueError(
                "saliency.source: model computes the maps, but saliency.location names some; take "
                "one of them out"
            )
        if self.saliency.source == "archive" and dataset.root and not self.saliency.location:
            raise ValueError("saliency.source: archive needs its address in saliency.location")
        if dataset.format != "voc":
            if not dataset.root:
                raise ValueError(f"dataset.format: {dataset.format} needs dataset.root")
            if dataset.labels_from == "masks":
                raise ValueError(
                    f"dataset.labels_from: masks is of the format voc; {dataset.format} says "
                    "itself what each photograph shows"
                )
        if dataset.labels_from == "masks" and dataset.binary_masks:
            raise ValueError(
                "dataset.binary_masks: the masks do not say which class they show, so "
                "dataset.labels_from must be list"
            )
        if dataset.labels_from == "masks" and not dataset.masks:
            raise ValueError("dataset.labels_from: masks needs dataset.masks")
        if segmentation.supervision == "full" and not dataset.masks:
            raise ValueError("segmentation.supervision: full needs dataset.masks")
        watched = ["dataset.dev_list"] if dataset.dev_list else []
        watched += ["segmentation.hold_out"] if segmentation.hold_out else []
        if watched and not segmentation.validations:
            raise ValueError(
                f"{watched[0]} is never scored, because segmentation.validations is 0 (with the "
                "preset paper, too); set it, or take the other out"
            )
        if len(watched) > 1:
            raise ValueError(
                "segmentation.hold_out leaves photographs out for nothing where dataset.dev_list "
                "is scored; take one of the two out"
            )
        if classifier.backbone == "vgg16" and classifier.output_stride != 8:
            raise ValueError("classifier.output_stride: vgg16 has 8; choose a timm backbone")
        if segmentation.backbone == "resnet101" and segmentation.output_stride != 8:
            raise ValueError("segmentation.output_stride: resnet101 has 8; choose a timm backbone")
        if segmentation.scales[0] != 1:
            raise ValueError(f"segmentation.scales is {segmentation.scales}: the first must be 1.0")
        for name, training in (("classifier", classifier), ("segmentation", segmentation)):
            if training.average_last and training.batch_norm == "train":
                raise ValueError(
                    f"{name}.average_last: averaged weights have no statistics of their own; set "
                    f"{name}.batch_norm: freeze, or take average_last out"
                )
        if gpus % nodes:
            raise ValueError(
                f"runtime.gpus: {gpus} cannot be shared out equally to {nodes} nodes; give a "
                f"multiple of {nodes} (on nodes without GPUs, too)"
            )
        return self
