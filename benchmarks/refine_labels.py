"""Refined labels: ours against one photograph after the other, class by class."""

from pathlib import Path

import harness
from material import Material

agreement = harness.equal_pixels


def published(material: Material) -> harness.Work:
    """Refine label after label."""
    import published_labels as plain

    predictions, initial = material.predictions(), material.initial()
    least = material.config.refinement.min_foreground

    def work(amount: int, folder: Path) -> None:
        for entry in material.entries(amount):
            name, own = f"{entry.id}.png", entry.classes or []
            first, second = plain.read(predictions / name), plain.read(initial / name)
            label = plain.refine_label(first, second, own, least)
            plain.write(folder / name, label)

    return work


def ours(material: Material) -> harness.Work:
    """Run the stage."""
    inputs = ["--predictions", material.manifest(material.predictions())]
    inputs += ["--initial", material.manifest(material.initial())]
    settings = material.config.refinement.model_dump_json()

    def work(amount: int, folder: Path) -> None:
        harness.run_stage(
            "labels/refine_labels.py",
            *harness.shard_options(material, amount, folder),
            *[*inputs, "--settings", settings, "--threads", material.threads],
        )

    return work


if __name__ == "__main__":
    arguments = harness.parser(__doc__).parse_args()
    amounts = (4, 24) if arguments.quick else (20, 220)
    harness.compare("refine_labels", arguments, published, ours, amounts, agreement=agreement)
