"""Scores: ours, with intervals, boundaries and object sizes, against the published mIoU alone."""

import json
from pathlib import Path

import harness
from material import Material

RESULT = "score.json"


def published(material: Material) -> harness.Work:
    """Count the pixels of mask after mask."""
    import published_labels as plain

    predictions, labels = material.predictions(), len(material.index.classes) + 1

    def work(amount: int, folder: Path) -> None:
        pairs = [
            (Path(entry.mask), predictions / f"{entry.id}.png")
            for entry in material.entries(amount)
            if entry.mask
        ]
        (folder / RESULT).write_text(json.dumps({"miou": plain.mean_iou(pairs, labels)}))

    return work


def ours(material: Material) -> harness.Work:
    """Run the stage."""
    predictions = material.manifest(material.predictions())

    def work(amount: int, folder: Path) -> None:
        harness.run_stage(
            "evaluation/score.py",
            *["--stage", "train_aug_crf", "--index", material.index_file(amount)],
            *["--manifests", predictions, "--threads", material.threads],
            *["--output", folder / RESULT, "--images-csv", folder / "images.csv"],
        )

    return work


def agreement(first: Path, second: Path) -> float:
    """Return 1 if both mIoU are equal, less their difference."""
    one, other = (json.loads((folder / RESULT).read_text())["miou"] for folder in (first, second))
    return 1 - abs(one - other)


if __name__ == "__main__":
    arguments = harness.parser(__doc__).parse_args()
    amounts = (4, 24) if arguments.quick else (20, 220)
    harness.compare("score", arguments, published, ours, amounts, agreement=agreement)
