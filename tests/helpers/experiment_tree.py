"""Small experiments with real files and real provenance, to trace, explain and compare."""

import csv
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from i2crc.artifacts.journal import FileRecord
from i2crc.artifacts.manifest import read_manifests, write_manifest
from i2crc.artifacts.provenance import Origin, write_beside
from i2crc.artifacts.stages import STAGES
from i2crc.config.schema import Cam, Classifier, Dataset, PseudoLabels
from i2crc.data.build_index import build_index
from i2crc.data.images import read_label, write_gray, write_label
from i2crc.data.index import Index, read_index, shard_of
from i2crc.evaluation.bootstrap import Bootstrap, counts_text, image_counts, interval
from i2crc.evaluation.metrics import confusion, scores
from i2crc.models.weight_files import save_weights
from i2crc.runtime.atomic import digest_file, write_json

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"
CLASSES = ["cat", "dog"]
SHARDS = 2
SIZE = 8


def script(stage: str) -> Path:
    """The script of a stage."""
    return SCRIPTS / STAGES[stage].script


def make_dataset(project: Path, images: int = 6) -> Path:
    """`voc` below `project`: photographs a0, a1, ... of a cat or a dog, masks and a list."""
    root = project / "voc"
    generator = np.random.default_rng(0)
    (root / "JPEGImages").mkdir(parents=True)
    for number in range(images):
        pixels = generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"a{number}.jpg")
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[: SIZE // 2] = 1 + number % 2
        write_label(root / "SegmentationClassAug" / f"a{number}.png", mask)
    rows = [f"a{number} {number % 2}\n" for number in range(images)]
    (root / "train_cls.txt").write_text("".join(rows))
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return root


class Tree:
    """An experiment `results/NAME` from the list to scored initial labels.

    The labels of image n miss the lowest `missed[n]` rows of the object, or are 255 there if they
    are `ignoring`. The working directory must be `project`.
    """

    def __init__(
        self,
        project: Path,
        name: str = "demo",
        settings: PseudoLabels | None = None,
        missed: tuple[int, ...] = (1,),
        limit: int | None = None,
        ignoring: bool = False,
    ) -> None:
        self.missing = 255 if ignoring else 0
        self.folder = Path("results") / name
        self.project, self.missed = project, missed
        self.settings = settings or PseudoLabels()
        self.index = self.folder / "data/train.json"
        self.saliency = self.folder / "saliency/manifest.json"
        self.weights = self.folder / "classifier/weights.safetensors"
        self.score = self.folder / "scores/initial_labels.json"
        self._prepare(limit)
        self._saliency()
        self._classifier()
        for shard in range(SHARDS):
            self._cams(shard)
            self._labels(shard)
        self._score()

    def shard(self, folder: str, number: int) -> Path:
        """A shard's file below a folder of the experiment."""
        return self.folder / folder / f"{number + 1}-of-{SHARDS}.json"

    def shards(self, folder: str) -> list[Path]:
        """The files of all shards."""
        return [self.shard(folder, number) for number in range(SHARDS)]

    def _prepare(self, limit: int | None) -> None:
        root, dataset = Path("voc"), Dataset(limit=limit)
        index = build_index("train", root, dataset, self.folder / "masks", 1)
        lists = [root / "train_cls.txt", root / "classes.txt"]
        origin = Origin(script("prepare_data"), lists, dataset)
        parts = {self.index: index.images}
        for number, path in enumerate(self.shards("data/train")):
            parts[path] = [e for e in index.images if shard_of(e.id, SHARDS) == number]
        for path, entries in parts.items():
            content = asdict(Index(index.split, index.classes, entries))
            write_json(path, {**content, "provenance": origin.describe(path)})

    def _manifest(
        self, path: Path, stage: str, inputs: list, settings: object, images: dict
    ) -> None:
        folder = path.parent / "images"
        for name, pixels in images.items():
            (write_gray if stage == "infer_cam" else write_label)(folder / name, pixels)
        folder.mkdir(parents=True, exist_ok=True)
        paths = {name: folder / name for name in images}
        files = {n: FileRecord(digest_file(p), p.stat().st_size) for n, p in paths.items()}
        write_manifest(path, Origin(script(stage), inputs, settings), folder, files)

    def _saliency(self) -> None:
        images = {f"{e.id}.png": np.zeros((2, 2), np.uint8) for e in self._entries(self.index)}
        settings = {"source": "voc/saliency", "sha256": ""}
        self._manifest(self.saliency, "download_saliency", [self.index], settings, images)

    def _classifier(self) -> None:
        settings = Classifier(epochs=2)
        inputs = [self.index, self.saliency]
        origin = Origin(script("train_classifier"), inputs, settings, seed=7, precision="fp32")
        metadata = {"weights": {"source": "package lite", "sha256": "ab12"}}
        save_weights(self.weights, nn.Linear(2, 2), metadata)
        write_beside(self.weights, origin.describe(self.weights))

    def _cams(self, shard: int) -> None:
        index = self.shard("data/train", shard)
        images = {
            f"{e.id}_{c}.png": np.full((SIZE, SIZE), 9, np.uint8)
            for e in self._entries(index)
            for c in e.classes
        }
        inputs = [index, self.weights]
        self._manifest(self.shard("cams", shard), "infer_cam", inputs, Cam(), images)

    def _labels(self, shard: int) -> None:
        index = self.shard("data/train", shard)
        images = {}
        for entry in self._entries(index):
            label = read_label(Path(entry.mask)).copy()
            rows = self.missed[int(entry.id[1:]) % len(self.missed)]
            label[SIZE // 2 - rows : SIZE // 2] = self.missing
            images[f"{entry.id}.png"] = label
        inputs = [index, self.shard("cams", shard), self.saliency]
        manifest = self.shard("labels/initial", shard)
        self._manifest(manifest, "gen_gt", inputs, self.settings, images)

    def _score(self) -> None:
        manifests = self.shards("labels/initial")
        labels = ["background", *CLASSES]
        bootstrap, total = Bootstrap(len(labels), 50), 0
        rows = []
        for name, (path, _) in sorted(read_manifests(manifests).items()):
            truth = read_label(self.project / "voc/SegmentationClassAug" / name)
            counts = confusion(truth, read_label(path), len(labels))
            bootstrap.add(Path(name).stem, image_counts(counts))
            total = total + counts
            rows.append({"id": Path(name).stem, "counts": counts_text(image_counts(counts))})
        csv_file = self.score.with_suffix(".images.csv")
        csv_file.parent.mkdir(parents=True)
        with open(csv_file, "w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "counts"])
            writer.writeheader()
            writer.writerows(rows)
        found = scores(total, labels)
        origin = Origin(script("score"), [self.index, *manifests], {"bootstrap": 50})
        content = {
            "stage": "initial_labels",
            "split": "train",
            "images": len(rows),
            **found,
            "miou_interval": interval(bootstrap.mious(as_background=False)),
            "miou_255_as_background_interval": interval(bootstrap.mious(as_background=True)),
            "boundary_iou": None,
            "images_without_mask": [],
            "provenance": origin.describe(self.score),
        }
        write_json(self.score, content)
        write_beside(csv_file, origin.describe(csv_file))

    def _entries(self, index: Path) -> list:
        return read_index(index).images
