"""Training of the classifier: ours against plain steps, whose photographs the process decodes."""

from pathlib import Path

import harness
from material import Material


def published(material: Material) -> harness.Work:
    """Train step by step from the initial weights."""
    import published as plain
    import published_networks as networks

    settings, saliency = material.config.classifier, material.saliency()
    weights = material.weights("classifier")
    model, _, preprocessing = networks.load(weights, material.device)
    step = plain.ClassifierSteps(model, settings, preprocessing, material.index, saliency)

    def work(amount: int, folder: Path) -> None:
        for _ in range(amount):
            step()

    return work


def ours(material: Material) -> harness.Work:
    """Run the stage."""
    settings, saliency = material.config.classifier, material.manifest(material.saliency())
    runtime = material.config.runtime.model_dump_json()

    def work(amount: int, folder: Path) -> None:
        own = settings.model_copy(update={"epochs": 10_000, "max_iterations": amount})
        harness.run_stage(
            "classifier/train_classifier.py",
            *["--settings", own.model_dump_json(), "--runtime", runtime],
            *["--index", material.index_file(material.images), "--saliency", saliency],
            *["--run-folder", folder / "run", "--weights", folder / "weights.safetensors"],
            *["--history", folder / "history.csv", *harness.device_options(material)],
        )

    return work


if __name__ == "__main__":
    arguments = harness.parser(__doc__).parse_args()
    amounts = (1, 2) if arguments.quick else (20, 120) if arguments.device == "cuda" else (1, 4)
    harness.compare_steps("classifier", arguments, published, ours, amounts)
