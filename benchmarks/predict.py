"""Prediction: ours against photograph after photograph at full size."""

from pathlib import Path

from PIL import Image

import harness
from material import Material

agreement = harness.equal_pixels


def published(material: Material) -> harness.Work:
    """Predict photograph after photograph."""
    import numpy as np

    import published as plain
    import published_networks as networks

    weights = material.weights("segmentation")
    model, _, preprocessing = networks.load(weights, material.device)

    def work(amount: int, folder: Path) -> None:
        for entry in material.entries(amount):
            label, logits = plain.predict(model, Path(entry.image), preprocessing)
            np.save(folder / f"{entry.id}.npy", logits)
            Image.fromarray(label).save(folder / f"{entry.id}.png")

    return work


def ours(material: Material) -> harness.Work:
    """Run the stage."""
    weights = material.weights("segmentation")

    def work(amount: int, folder: Path) -> None:
        logits = folder / "logits"
        harness.run_stage(
            "segmentation/predict.py",
            *harness.shard_options(material, amount, folder),
            *["--logits", logits, "--logits-manifest", folder / "logits.json"],
            *["--weights", weights, *harness.device_options(material)],
        )

    return work


if __name__ == "__main__":
    arguments = harness.parser(__doc__).parse_args()
    fast = arguments.device == "cuda"
    amounts = (4, 8) if arguments.quick else (32, 288) if fast else (4, 28)
    harness.compare("predict", arguments, published, ours, amounts, agreement=agreement)
