"""What storing logits in half precision, deflated, saves and costs, on images of a finished run.

Prints the size of a file relative to float32 and float16, the time of a write and of a read
relative to that of the network, and the share of pixels whose label half precision changes, before
and after the CRF.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from i2crc.config.schema import Crf
from i2crc.data.images import read_photo
from i2crc.data.index import read_index
from i2crc.inference.logits import read_logits, write_logits
from i2crc.inference.prediction import load_segmentation, predict_logits
from i2crc.labels.dense_crf import dense_crf
from i2crc.models.upsampling import upsample


def main(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    model, preprocessing = load_segmentation(arguments.weights, torch.device("cpu"))
    sums = dict.fromkeys(("float32", "file", "pixels", "prediction", "crf"), 0)
    seconds = dict.fromkeys(("network", "write", "read"), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "logits.npz"
        for entry in read_index(arguments.index).images[: arguments.images]:
            photo = np.asarray(read_photo(Path(entry.image)))
            clock = [time.perf_counter()]
            exact = predict_logits(model, photo, preprocessing)
            clock.append(time.perf_counter())
            write_logits(file, exact)
            clock.append(time.perf_counter())
            half = read_logits(file)
            clock.append(time.perf_counter())
            for name, duration in zip(seconds, np.diff(clock), strict=True):
                seconds[name] += duration
            sums["float32"] += exact.nbytes
            sums["file"] += file.stat().st_size
            sums["pixels"] += photo.shape[0] * photo.shape[1]
            labels = [upsample(logits, photo.shape[:2]).argmax(axis=0) for logits in (exact, half)]
            sums["prediction"] += int((labels[0] != labels[1]).sum())
            labels = [dense_crf(photo, logits, Crf()).argmax(axis=0) for logits in (exact, half)]
            sums["crf"] += int((labels[0] != labels[1]).sum())
    print(f"file / float32                  {sums['file'] / sums['float32']:.3f}")
    print(f"file / float16                  {sums['file'] / (sums['float32'] / 2):.3f}")
    for name in ("write", "read"):
        print(f"time of a {name:5} / network's     {seconds[name] / seconds['network']:.3f}")
    for name in ("prediction", "crf"):
        print(f"pixels changed, {name:10}      {sums[name] / sums['pixels']:.2e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="segmentation network of a run")
    parser.add_argument("--index", type=Path, required=True, help="index of the run's images")
    parser.add_argument("--images", type=int, default=40, help="use the first N images")
    main(parser.parse_args())
