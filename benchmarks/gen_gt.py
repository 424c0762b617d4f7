"""Initial pseudo labels: ours against arrays with a channel for each class, one after the other."""

from pathlib import Path

import harness
from material import Material

agreement = harness.equal_pixels


def published(material: Material) -> harness.Work:
    """Label photograph after photograph."""
    import published_labels as plain

    attention, saliency = material.attention(), material.saliency()
    settings, classes = material.config.pseudo_labels, len(material.index.classes)

    def work(amount: int, folder: Path) -> None:
        for entry in material.entries(amount):
            maps = {c: plain.read(attention / f"{entry.id}_{c}.png") for c in entry.classes or ()}
            salient = plain.read(saliency / f"{entry.id}.png")
            label = plain.initial_label(maps, salient, classes, settings)
            plain.write(folder / f"{entry.id}.png", label)

    return work


def ours(material: Material) -> harness.Work:
    """Run the stage."""
    inputs = ["--cams", material.manifest(material.attention())]
    inputs += ["--saliency", material.manifest(material.saliency())]
    settings = material.config.pseudo_labels.model_dump_json()

    def work(amount: int, folder: Path) -> None:
        harness.run_stage(
            "labels/gen_gt.py",
            *harness.shard_options(material, amount, folder),
            *[*inputs, "--settings", settings, "--threads", material.threads],
        )

    return work


if __name__ == "__main__":
    arguments = harness.parser(__doc__).parse_args()
    amounts = (4, 24) if arguments.quick else (20, 220)
    harness.compare("gen_gt", arguments, published, ours, amounts, agreement=agreement)
