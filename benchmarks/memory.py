"""What keeping freed memory (`keep_memory`) saves a training step on the CPU.

Prints the ratio of the seconds per step without it to those with it, from processes run in turn.
"""

import argparse
import subprocess
import sys
import time


def seconds_per_step(keep: bool, threads: int, steps: int) -> float:
    """Return the median seconds of a training step of the small classifier (batch 16, 256x256)."""
    import torch

    from i2crc.config.schema import Classifier, RelationLosses
    from i2crc.models.cam_classifier import build_classifier, class_logits
    from i2crc.training.distributed import keep_memory
    from i2crc.training.losses import classification_loss, relation_losses

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if keep:
        keep_memory()
    settings = Classifier(backbone="efficientnet_lite0", output_stride=16, head_convs=0)
    model = build_classifier(settings, 20).to(memory_format=torch.channels_last)
    images = torch.randn(16, 3, 256, 256).to(memory_format=torch.channels_last)
    saliency, labels = torch.rand(16, 256, 256), torch.eye(20)[:16]
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        cam = model(images)
        loss = classification_loss(class_logits(cam), labels)
        loss = loss + sum(relation_losses(cam, saliency, labels, RelationLosses()).values())
        loss.backward()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def measure(keep: bool, arguments: argparse.Namespace) -> float:
    """Return the same, measured in a process of its own, because memory that is kept stays kept."""
    options = ["--threads", str(arguments.threads), "--steps", str(arguments.steps)]
    command = [sys.executable, __file__, "--once", str(int(keep)), *options]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--once", type=int, choices=[0, 1], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once is not None:
        print(seconds_per_step(bool(options.once), options.threads, options.steps))
    else:
        for _ in range(options.runs):
            without, kept = measure(False, options), measure(True, options)
            print(f"{without:.2f} s / {kept:.2f} s = {without / kept:.2f}")
