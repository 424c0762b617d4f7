"""Attention maps (CAM): ours against one pass for each photograph, scale and mirror image."""

from functools import partial
from pathlib import Path

from PIL import Image

import harness
from material import Material

# Quantised to 256 levels, where the last digits decide.
agreement = partial(harness.equal_pixels, levels=2)


def published(material: Material) -> harness.Work:
    """Infer photograph after photograph."""
    import published as plain
    import published_networks as networks

    weights = material.weights("classifier")
    model, settings, preprocessing = networks.load(weights, material.device)
    cam = material.config.cam

    def work(amount: int, folder: Path) -> None:
        for entry in material.entries(amount):
            own = entry.classes or []
            size, photo = settings.input_size, Path(entry.image)
            maps = plain.attention_maps(model, photo, own, size, preprocessing, cam)
            for c, values in maps.items():
                Image.fromarray(values).save(folder / f"{entry.id}_{c}.png")

    return work


def ours(material: Material) -> harness.Work:
    """Run the stage."""
    inputs = ["--weights", material.weights("classifier")]
    settings = material.config.cam.model_dump_json()

    def work(amount: int, folder: Path) -> None:
        harness.run_stage(
            "classifier/infer_cam.py",
            *harness.shard_options(material, amount, folder),
            *[*inputs, "--settings", settings, *harness.device_options(material)],
        )

    return work


if __name__ == "__main__":
    arguments = harness.parser(__doc__).parse_args()
    fast = arguments.device == "cuda"
    amounts = (4, 8) if arguments.quick else (32, 288) if fast else (4, 20)
    harness.compare("infer_cam", arguments, published, ours, amounts, agreement=agreement)
