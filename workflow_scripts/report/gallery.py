"""Make the gallery: a page on which people look through the training photographs and their labels.

The pictures are made photograph by photograph, and kept like those of a stage that runs in shards.
"""

import argparse
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.manifest import Work, make_shard, read_manifests
from i2crc.artifacts.provenance import Origin
from i2crc.data.index import Entry, read_index
from i2crc.runtime.atomic import read_json
from i2crc.runtime.parallel import processes
from i2crc.runtime.parser import make_parser, run

# Option -> title of the pictures in the gallery; the network's logits are not shown.
STAGES = {
    "saliency": "saliency",
    "cams": "CAM",
    "initial": "initial label",
    "refined": "refined label",
    "predictions": "prediction",
    "logits": "logits",
}


def main(arguments: argparse.Namespace) -> None:
    index = read_index(arguments.index)
    manifests = {title: getattr(arguments, option) for option, title in STAGES.items()}
    files = {title: read_manifests(paths) for title, paths in manifests.items()}
    inputs = [arguments.index, *(path for paths in manifests.values() for path in paths)]
    origin = Origin(Path(__file__), inputs)
    folder = arguments.manifest.parent

    def key(entry: Entry) -> list[Any]:
        names = {
            "CAM": [f"{entry.id}_{number}.png" for number in entry.classes or ()],
            "logits": [f"{entry.id}.npz"],
        }
        pictures = [
            found[name][1]
            for title, found in files.items()
            for name in names.get(title, [f"{entry.id}.png"])
        ]
        return [entry.sha256, entry.mask_sha256, entry.classes, *pictures]

    def prepare() -> tuple[Work, Executor]:
        # Imported here, because a gallery that is already made must not wait for numpy and PIL.
        from i2crc.report.gallery import Sources, make_pictures

        paths = tuple((title, tuple(paths)) for title, paths in manifests.items())
        work = partial(make_pictures, Sources(arguments.index, paths), folder)
        return work, processes(arguments.threads)

    def page() -> list[bytes]:
        from i2crc.report.contact_sheet import read_scores
        from i2crc.report.gallery import gallery_page, photos_script

        folders = {
            title: paths[0].parent / read_json(paths[0])["folder"]
            for title, paths in manifests.items()
            if title != "logits"
        }
        scores = read_scores(arguments.images_csv)
        script = photos_script(arguments.experiment, index, folder, folders, scores)
        return [gallery_page(arguments.experiment).encode(), script.encode()]

    keys = {entry.id: key(entry) for entry in index.images}
    make_shard({arguments.manifest: folder}, origin, folder, keys, prepare)
    shown = [arguments.index, arguments.manifest, arguments.images_csv]
    page_origin = Origin(Path(__file__), shown, {"experiment": arguments.experiment})
    make_once(page_origin, [arguments.page, arguments.photos], page)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--experiment", required=True, help="its name, for the title")
    parser.add_argument("--index", type=Path, required=True, help="index of the split train")
    for option, title in STAGES.items():
        parser.add_argument(
            f"--{option}", type=Path, nargs="+", required=True, help=f"manifests: {title}"
        )
    parser.add_argument("--images-csv", type=Path, required=True, help="scores of refined labels")
    parser.add_argument("--manifest", type=Path, required=True, help="output: list of pictures")
    parser.add_argument("--page", type=Path, required=True, help="output: index.html")
    parser.add_argument("--photos", type=Path, required=True, help="output: photos.js")
    run(main, parser)
