"""Pack the final network into the model file, and write its model card beside it."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin, read_provenance
from i2crc.artifacts.schemas import Score, read_checked
from i2crc.config.schema import Crf, Predict
from i2crc.data.index import Index, read_index
from i2crc.models.weight_files import read_metadata
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    output, weights = arguments.output, arguments.weights
    scored = [*arguments.scores, *arguments.images]
    files = [weights, *scored, *arguments.indexes, *arguments.saliency]
    inputs = [*files, *([arguments.leaks] if arguments.leaks else [])]
    crf = Crf.model_validate_json(arguments.crf).model_dump()
    prediction = Predict.model_validate_json(arguments.prediction).model_dump()
    sections = {"prediction": prediction, "crf": crf}
    settings = {"dataset": arguments.dataset, **sections, "bootstrap": arguments.bootstrap}
    origin = Origin(Path(__file__), inputs, settings)
    experiment = output.absolute().parent.name

    def pack() -> list[bytes | None]:
        # Imported here, because a finished model file must not wait for torch.
        from i2crc.inference.model_file import write_model
        from i2crc.report.model_card import model_card

        scores = [read_checked(path, Score) for path in arguments.scores]
        scores = [one for one in scores if one["miou"] is not None]
        facts = {
            "max_side": arguments.dataset["max_side"],
            **sections,
            "scores": {one["stage"]: one["miou"] for one in scores},
            "facts": {"experiment": experiment, **model_facts(arguments, scores)},
        }
        card = write_model(output, weights, facts)
        # The time is in the card alone: two runs make the same model file.
        start = (read_provenance(weights) or {}).get("start", "")
        return [None, model_card(card, start[:10]).encode()]

    make_once(origin, [output, output.with_name("MODEL_CARD.md")], pack, key=experiment)


def model_facts(arguments: argparse.Namespace, scores: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the model card says of the data, the scores and the origin of the network."""
    from i2crc.evaluation.data_checks import check_splits
    from i2crc.models.pretrained import licence_of
    from i2crc.report.findings import fallen_stages, measured
    from i2crc.report.score_table import warnings

    metadata = read_metadata(arguments.weights)
    indexes = {index.split: index for index in map(read_index, arguments.indexes)}
    train = indexes.get("train") or Index("train", metadata["classes"], [])
    counts = Counter(number for entry in train.images for number in entry.classes or ())
    changed = {*train.corrections.get("exclude", ()), *train.corrections.get("relabel", ())}
    keys = ("split", "images", "miou", "miou_interval")
    by_stage = {one["stage"]: one for one in scores}
    fallen = fallen_stages(by_stage, arguments.images, arguments.bootstrap)
    source = metadata["weights"]["source"]
    return {
        "dataset": arguments.dataset.get("name", ""),
        "format": arguments.dataset.get("format", ""),
        "photographs": {split: len(index.images) for split, index in indexes.items()},
        "of_class": {name: counts[number] for number, name in enumerate(train.classes)},
        "corrected": len(changed),
        "scores": {
            name: {key: one[key] for key in keys} | {"iou": measured(one, "iou")}
            for name, one in by_stage.items()
        },
        "fallen": [one.text for one in fallen],
        "backbone": {"source": source, "licence": licence_of(source)},
        "saliency": saliency_licence(arguments.saliency),
        "warnings": [
            *warnings(arguments.leaks, [arguments.weights], None),
            *check_splits(indexes, has_masks=True),
        ],
        "fingerprint": metadata["fingerprint"],
    }


def saliency_licence(manifests: list[Path]) -> dict[str, str] | None:
    """Return where the saliency maps come from, and the licence of their network."""
    if not manifests:
        return None
    facts = read_provenance(manifests[0]) or {}
    if facts.get("script") != "compute_saliency":
        return {"source": "maps that were given with the photographs", "licence": "unknown"}
    settings = facts["settings"]
    return {
        "source": settings.get("name", "a network of the user's"),
        "licence": settings["licence"],
    }


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="of the final training")
    parser.add_argument("--scores", type=Path, nargs="*", default=[], help="of its predictions")
    parser.add_argument("--images", type=Path, nargs="*", default=[], help="scores per image")
    parser.add_argument("--bootstrap", type=int, default=1000, help="replicates of the bootstrap")
    parser.add_argument("--indexes", type=Path, nargs="*", default=[], help="of train and val")
    parser.add_argument("--saliency", type=Path, nargs="*", default=[], help="one of its manifests")
    parser.add_argument("--leaks", type=Path, help="findings of check_leaks")
    parser.add_argument(
        "--dataset",
        type=json.loads,
        required=True,
        help="JSON: max_side, name and format of the section `dataset`",
    )
    parser.add_argument("--prediction", default="{}", help="JSON: the section `prediction`")
    parser.add_argument("--crf", default="{}", help="JSON: the section `crf`")
    parser.add_argument(
        "--output", type=Path, required=True, help="output: model file; MODEL_CARD.md is beside it"
    )
    run(main, parser)
