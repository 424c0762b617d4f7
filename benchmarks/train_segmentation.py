"""Training of the segmentation network: ours against plain steps, as in train_classifier.py."""

from pathlib import Path

import harness
from material import Material


def published(material: Material) -> harness.Work:
    """Train step by step from the initial weights."""
    import published as plain
    import published_networks as networks

    settings, labels = material.config.segmentation, material.initial()
    weights = material.weights("segmentation")
    model, _, preprocessing = networks.load(weights, material.device)
    step = plain.SegmentationSteps(model, settings, preprocessing, material.index, labels)

    def work(amount: int, folder: Path) -> None:
        for _ in range(amount):
            step()

    return work


def ours(material: Material) -> harness.Work:
    """Run the stage. Drawn labels may be the masks, so it does not search for leaks."""
    settings, labels = material.config.segmentation, material.manifest(material.initial())
    runtime = material.config.runtime.model_dump_json()

    def work(amount: int, folder: Path) -> None:
        own = settings.model_copy(update={"iterations": amount})
        harness.run_stage(
            "segmentation/train_segmentation.py",
            *["--settings", own.model_dump_json(), "--runtime", runtime, "--allow-leaks"],
            *["--index", material.index_file(material.images), "--labels", labels],
            *["--run-folder", folder / "run", "--weights", folder / "weights.safetensors"],
            *["--history", folder / "history.csv", *harness.device_options(material)],
        )

    return work


if __name__ == "__main__":
    arguments = harness.parser(__doc__).parse_args()
    amounts = (1, 2) if arguments.quick else (20, 120) if arguments.device == "cuda" else (1, 8)
    harness.compare_steps("segmentation", arguments, published, ours, amounts)
