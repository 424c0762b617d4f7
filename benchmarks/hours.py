"""How long whole data sets take: estimates from some steps that are measured on this machine.

The settings are those that `i2crc new` chooses for that number of photographs. --nodes is the
number of such machines in a cluster: shards run on all of them at once, a training on one.
"""

import argparse
import time
from typing import Any

import harness
from i2crc.cli.new import duration, this_machine
from i2crc.config.choices import Counts, choose, nested
from i2crc.config.load import load_config, merge, read_yaml
from i2crc.evaluation.amount import Amount
from material import Material

SAMPLE = 16  # photographs that steps are measured with
SIDE = 500  # longer side of the photographs, whose shorter one is 375
# Photographs to train with and to validate with, classes, and classes of a photograph.
DATA = {
    "VOC 2012": (10_582, 1_449, 20, 1.5),
    "COCO 2014": (82_081, 40_137, 80, 2.9),
    "a million": (1_000_000, 10_000, 20, 1.5),
}


def main(material: Material, device: str, nodes: int) -> list[dict[str, Any]]:
    """Return a row for each data set, with the time of its stages on one machine and on `nodes`."""
    begin = time.perf_counter()
    from i2crc.evaluation.estimate import measure, stage_seconds

    start, gpus = time.perf_counter() - begin, int(device == "cuda")
    rows = []
    for name, (train, val, classes, each) in DATA.items():
        counts = Counts(train, [int(train * each / classes)] * classes, [SIDE])
        settings = nested(choose(counts, this_machine(), can_draw=False))
        values = merge(read_yaml(material.configuration), settings)
        config = load_config(values, str(material.configuration))
        folder = material.folder / name
        folder.mkdir()
        steps = measure(config, material.index, folder, material.threads, gpus, start)
        amount = Amount(train, val, classes, each, 0.1875, 0.1875, 0.003, masks=True, saliency=True)
        seconds = stage_seconds(config, amount, steps, material.threads, gpus)
        trainings = sum(value for part, value in seconds.items() if part.startswith("train "))
        others = sum(seconds.values()) - trainings
        figures = {
            "one machine": duration(trainings + others),
            f"{nodes} machines": duration(trainings + others / nodes),
            "of it the trainings": duration(trainings),
        }
        rows.append({"table": "Estimate", "benchmark": name, "figures": figures})
    return rows


if __name__ == "__main__":
    parser: argparse.ArgumentParser = harness.parser(__doc__)
    parser.add_argument("--nodes", type=int, default=32, help="machines of the cluster")
    arguments = parser.parse_args()
    with harness.material_of(arguments, SAMPLE) as material:
        harness.report("hours", main(material, arguments.device, arguments.nodes), arguments)
