"""Draw docs/figures/flow.svg: the picture of the workflow of the report, from a finished demo.

Run it in the folder of the project, below which the demo's photographs are.
"""

import argparse
from pathlib import Path

from i2crc.data.index import read_index
from i2crc.report.contact_sheet import read_scores
from i2crc.report.flow import flow_picture
from i2crc.report.front_page import Shown, flow_steps
from i2crc.runtime.atomic import read_json

# Split -> the stage that ranks its photographs, and column -> folder of its manifests.
SPLITS = {
    "train": (
        "refined_labels",
        {
            "saliency": "saliency",
            "cam": "cams",
            "initial label": "labels/initial",
            "prediction": "predictions/initial/train",
            "CRF": "crf/initial/train",
            "refined label": "labels/refined",
        },
    ),
    "val": ("val_crf", {"CRF": "crf/final/val"}),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="results/EXPERIMENT of a finished run")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("flow.svg"))
    arguments = parser.parse_args()
    results = arguments.results
    splits = {
        split: Shown(
            read_index(results / f"data/{split}.json"),
            read_scores(results / f"scores/{stage}.images.csv"),
            {title: sorted((results / name).glob("*.json")) for title, name in folders.items()},
        )
        for split, (stage, folders) in SPLITS.items()
    }
    scores = {path.stem: read_json(path) for path in results.glob("scores/*.json")}
    arguments.output.write_text(flow_picture(flow_steps(scores, splits), 8, paper="white"))
