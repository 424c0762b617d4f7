"""The photographs that are measured, and what the stages read of them.

The photographs are those of a folder in VOC layout or of a finished run (`results/NAME`); without
one, the demo is drawn. What a run has made is used. Attention maps, logits and labels that are
missing are drawn from the masks, and networks get the initial weights of a training: their time
does not depend on how good they are.
"""

import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import count, islice
from pathlib import Path

import numpy as np
from PIL import Image

from i2crc.config.load import load_config, read_yaml
from i2crc.config.schema import Config, Weights
from i2crc.data.build_index import build_index
from i2crc.data.drawn_demo import write_demo
from i2crc.data.images import read_label, write_gray, write_label
from i2crc.data.index import Entry, Index, read_index
from i2crc.runtime.atomic import digest_file, write_json
from i2crc.runtime.errors import InputError

DEMO = {"train": 48, "val": 1}
DEMO_SIDE = 320
# Where a run has what, below its folder.
MADE = {
    "saliency": "saliency/maps",
    "attention": "cams/maps",
    "initial": "labels/initial/images",
    "predictions": "crf/initial/train/images",
    "logits": "predictions/initial/train/logits/maps",
}
NOISE = 0.5  # standard deviation in drawn logits


@dataclass
class Material:
    """What one benchmark measures with. It is sent to the processes of both sides.

    `photographs` is a folder in VOC layout, that of a finished run, or None for the demo. `images`
    photographs are used; if there are fewer, they are repeated. `folder` gets what is drawn.
    """

    photographs: Path | None
    configuration: Path
    folder: Path
    images: int
    device: str
    threads: int

    @cached_property
    def config(self) -> Config:
        """The configuration; weights from the web are replaced by random ones."""
        config = load_config(read_yaml(self.configuration), str(self.configuration))
        networks = {}
        for name in ("classifier", "segmentation"):
            section = getattr(config, name)
            if section.weights.source in ("torchvision", "timm"):
                section = section.model_copy(update={"weights": Weights(source="random")})
            networks[name] = section
        return config.model_copy(update=networks)

    @cached_property
    def found(self) -> Index:
        """The index of the photographs, each once; large photographs are left out."""
        run_index = self.photographs and self.photographs / "data/train.json"
        if run_index and run_index.is_file():
            index = read_index(run_index)
            index = replace(index, images=[e for e in index.images if not e.original])
        else:
            dataset = self.config.dataset.model_copy(
                update={"root": str(self.root), "max_side": 0, "limit": self.images}
            )
            if (self.root / "classes.txt").is_file():
                dataset = dataset.model_copy(update={"classes": []})
            index = build_index("train", self.root, dataset, self.folder, self.threads)
        if not index.images:
            problem = index.problems[0] if index.problems else "no photographs"
            raise InputError(f"{self.photographs}: cannot be measured with ({problem})")
        return index

    @cached_property
    def root(self) -> Path:
        """The folder in VOC layout: the user's, or the demo, which is drawn."""
        if self.photographs:
            return self.photographs
        root, archive = self.folder / "demo", self.folder / "demo/saliency.tar.gz"
        write_demo(root, archive, DEMO, DEMO_SIDE, 0)
        with tarfile.open(archive) as packed:
            packed.extractall(root, filter="data")
        return root

    @cached_property
    def index(self) -> Index:
        """The index of `images` photographs; a repeated one has the id ID-rN."""
        rounds = (
            replace(entry, id=f"{entry.id}-r{number}" if number else entry.id)
            for number in count()
            for entry in self.found.images
        )
        return replace(self.found, images=list(islice(rounds, self.images)))

    def entries(self, amount: int) -> list[Entry]:
        """Return the first photographs."""
        return self.index.images[:amount]

    def index_file(self, amount: int) -> Path:
        """Return the file with the index of the first photographs."""
        path = self.folder / f"index-{amount}.json"
        if not path.is_file():
            content = asdict(replace(self.index, images=self.entries(amount)))
            write_json(path, {key: value for key, value in content.items() if value})
        return path

    # What the stages read: the folder of files, with a manifest beside it.

    def saliency(self) -> Path:
        """Return the folder of the saliency maps, ID.png."""

        def draw(entry: Entry, folder: Path) -> None:
            given = self.root / "saliency" / f"{entry.id}.png"
            if given.is_file():
                (folder / given.name).symlink_to(given.absolute())
            else:
                write_gray(folder / f"{entry.id}.png", smooth(mask_of(entry) > 0))

        return self._made("saliency", draw)

    def attention(self) -> Path:
        """Return the folder of the attention maps, ID_CLASS.png."""

        def draw(entry: Entry, folder: Path) -> None:
            for c in entry.classes or ():
                write_gray(folder / f"{entry.id}_{c}.png", smooth(mask_of(entry) == c + 1))

        return self._made("attention", draw)

    def initial(self) -> Path:
        """Return the folder of the labels that the segmentation network learns, ID.png."""

        def draw(entry: Entry, folder: Path) -> None:
            write_label(folder / f"{entry.id}.png", mask_of(entry))

        return self._made("initial", draw)

    def predictions(self) -> Path:
        """Return the folder of the predictions after the CRF, ID.png."""

        def draw(entry: Entry, folder: Path) -> None:
            moved = np.roll(mask_of(entry), 8, axis=1)
            write_label(folder / f"{entry.id}.png", np.where(moved == 255, 0, moved))

        return self._made("predictions", draw)

    def logits(self, labels: int) -> Path:
        """Return the folder of the logits, ID.npz, of a number of labels.

        Those of a run are taken if they have that many. With fewer labels than the data set has,
        the classes of a photograph are the first ones.
        """
        from i2crc.inference.logits import write_logits

        stride, noise = self.config.segmentation.output_stride, np.random.default_rng(0)
        all_classes = labels > len(self.index.classes)

        def draw(entry: Entry, folder: Path) -> None:
            mask = mask_of(entry)
            size = [-(-side // stride) for side in mask.shape[::-1]]
            shares = np.zeros((labels, *size[::-1]), np.float32)
            values = [0, *(c + 1 for c in entry.classes or ())][:labels]
            for label, value in enumerate(values):
                shown = Image.fromarray((mask == value).astype(np.float32)).resize(size, Image.BOX)
                shares[value if all_classes else label] = np.asarray(shown)
            logits = np.log(0.9 * shares + 0.1 / labels)
            write_logits(folder / f"{entry.id}.npz", logits + noise.normal(0, NOISE, logits.shape))

        from_run = labels == len(self.index.classes) + 1
        return self._made("logits", draw, f"logits-{labels}", from_run)

    def manifest(self, folder: Path) -> Path:
        """Return the manifest of the files in a folder, which is written once."""
        path = folder.with_suffix(".json")
        if not path.is_file():
            files = {file.name: digest_file(file) for file in sorted(folder.iterdir())}
            write_json(path, {"folder": folder.name, "files": files})
        return path

    def weights(self, network: str) -> Path:
        """Return the weights of "classifier" or "segmentation": of the run, else initial ones."""
        for name in (f"{network}/final", f"{network}/initial", network):
            trained = self.photographs and self.photographs / name / "weights.safetensors"
            if trained and trained.is_file():
                return trained
        path = self.folder / f"{network}.safetensors"
        if not path.is_file():
            initial_weights(path, network, self.config, self.index.classes)
        return path

    def _made(
        self,
        kind: str,
        draw: Callable[[Entry, Path], None],
        name: str = "",
        from_run: bool = True,
    ) -> Path:
        """Return the folder with the files of all photographs, those of the run or drawn ones."""
        folder = self.folder / (name or kind)
        if folder.is_dir():
            return folder
        folder.mkdir(parents=True)
        run = self.photographs / MADE[kind] if self.photographs and from_run else self.folder
        first = self.found.images
        for number, entry in enumerate(self.index.images):
            names = file_names(kind, entry)
            if number >= len(first):
                targets = file_names(kind, first[number % len(first)])
                for file, target in zip(names, targets, strict=True):
                    (folder / file).symlink_to(target)
            elif all((run / file).is_file() for file in names):
                for file in names:
                    (folder / file).symlink_to((run / file).absolute())
            else:
                draw(entry, folder)
        return folder


def file_names(kind: str, entry: Entry) -> list[str]:
    """Return the names of the files of one kind that a photograph has."""
    if kind == "attention":
        return [f"{entry.id}_{c}.png" for c in entry.classes or ()]
    return [f"{entry.id}.{'npz' if kind == 'logits' else 'png'}"]


def mask_of(entry: Entry) -> np.ndarray:
    """Return the mask of a photograph; without one, a box of its first class."""
    if entry.mask:
        return read_label(Path(entry.mask))
    mask = np.zeros((entry.height, entry.width), np.uint8)
    box = slice(entry.height // 4, -entry.height // 4), slice(entry.width // 4, -entry.width // 4)
    mask[box] = (entry.classes or [0])[0] + 1
    return mask


def smooth(shown: np.ndarray) -> np.ndarray:
    """Return an (H, W) uint8 map as a network makes one: True is high, edges are soft."""
    image = Image.fromarray(shown.astype(np.uint8) * 255)
    small = image.resize((max(1, image.width // 16), max(1, image.height // 16)), Image.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))


def initial_weights(path: Path, network: str, config: Config, classes: list[str]) -> None:
    """Write the weights that a training of "classifier" or "segmentation" begins with."""
    import torch

    from i2crc.models.cam_classifier import build_classifier
    from i2crc.models.deeplab import build_segmentation
    from i2crc.models.pretrained import insert, load_pretrained, provenance
    from i2crc.models.weight_files import save_weights

    settings = getattr(config, network)
    pretrained = load_pretrained(settings.weights, settings.backbone)
    torch.manual_seed(0)
    if network == "classifier":
        model = build_classifier(settings, len(classes))
        insert(model.features, pretrained)
    else:
        model = build_segmentation(settings, len(classes))
        insert(model.base.features, pretrained)
    facts = provenance(pretrained, pretrained.preprocessing, classes)
    save_weights(path, model, {"settings": settings.model_dump(), **facts})
