"""Saliency maps by U2-Net-p: ours against photograph after photograph, each on all cores."""

from functools import partial
from pathlib import Path

from PIL import Image

import harness
from material import Material

# Quantised to 256 levels, where the last digits decide.
agreement = partial(harness.equal_pixels, levels=2)


def published(material: Material) -> harness.Work:
    """Compute map after map."""
    import onnxruntime

    import published as plain
    from i2crc.models.weight_files import saliency_network

    settings = material.config.saliency.model
    wanted = ["CUDAExecutionProvider"] if material.device == "cuda" else []
    providers = [one for one in wanted if one in onnxruntime.get_available_providers()]
    network = saliency_network(settings)[0]
    session = onnxruntime.InferenceSession(network, providers=[*providers, "CPUExecutionProvider"])

    def work(amount: int, folder: Path) -> None:
        for entry in material.entries(amount):
            values = plain.saliency_map(session, Path(entry.image), settings)
            Image.fromarray(values).save(folder / f"{entry.id}.png")

    return work


def ours(material: Material) -> harness.Work:
    """Run the stage."""
    settings = material.config.saliency.model.model_dump_json()

    def work(amount: int, folder: Path) -> None:
        harness.run_stage(
            "data/compute_saliency.py",
            *harness.shard_options(material, amount, folder),
            *["--settings", settings, *harness.device_options(material)],
        )

    return work


if __name__ == "__main__":
    arguments = harness.parser(__doc__).parse_args()
    fast = arguments.device == "cuda"
    amounts = (4, 8) if arguments.quick else (32, 160) if fast else (4, 20)
    harness.compare("compute_saliency", arguments, published, ours, amounts, agreement=agreement)
