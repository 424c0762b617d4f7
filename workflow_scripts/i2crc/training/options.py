"""The command line of a training, and its plan. Importing this module needs no torch."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Classifier, Runtime, Segmentation, Training
from i2crc.models.weight_files import weights_digest
from i2crc.runtime.atomic import digest_value


@dataclass(frozen=True)
class Plan:
    """What to train, for how long and where.

    `iterations` counts steps of the optimiser. `origin` says what the weights are made from.
    `determined_by` is everything that determines the result: the "settings", as in a configuration,
    and the digests of "inputs" by their names in messages. `runs` is the folder of the runs, each
    in a folder named by its fingerprint.
    """

    settings: Training
    iterations: int
    seed: int
    deterministic: bool
    origin: Origin
    determined_by: dict[str, dict[str, Any]]
    runs: Path
    runtime: Runtime

    @property
    def fingerprint(self) -> str:
        """The digest of everything that determines the result."""
        return digest_value(self.determined_by)

    @property
    def folder(self) -> Path:
        """The folder of this run: a finished one is used, an interrupted one is continued."""
        return self.runs / self.fingerprint[:16]

    @property
    def weights(self) -> Path:
        """The finished weights."""
        return self.folder / "weights.safetensors"

    @property
    def finished(self) -> Path:
        """The record of the finished run, which is written last."""
        return self.folder / "finished.json"

    @property
    def history(self) -> Path:
        """Loss terms and learning rate of every iteration."""
        return self.folder / "history.csv"

    @property
    def checkpoint(self) -> Path:
        """The state of an interrupted run."""
        return self.folder / "checkpoint.pt"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that both training scripts have."""
    parser.add_argument("--seed", type=int, default=0)
    add_deterministic(parser)
    parser.add_argument("--runtime", default="{}", help="JSON: the section `runtime`")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs to use where there are any")
    parser.add_argument("--processes", type=int, default=0, help="processes to use on the CPU")
    parser.add_argument("--run-folder", type=Path, required=True, help="of kept trainings")
    parser.add_argument("--weights", type=Path, required=True, help="output: trained weights")
    parser.add_argument("--history", type=Path, required=True, help="output: history as CSV")


def add_deterministic(parser: argparse.ArgumentParser) -> None:
    """Add the option of every script that computes with a network."""
    parser.add_argument("--deterministic", action="store_true", help="deterministic GPU kernels")


def make_plan(
    arguments: argparse.Namespace,
    script: Path,
    settings: Classifier | Segmentation,
    iterations: int,
    files: list[Path],
    inputs: dict[str, str],
    others: dict[str, Any] | None = None,
) -> Plan:
    """Return the plan of a training script from its command line.

    `files` are the files that the script reads. `inputs` are digests of that part of their content
    which the result depends on; they are the same for any number of shards. `others` are sections
    with further settings that the result depends on.
    """
    origin = Origin(script, files, settings, arguments.seed)
    pretrained = weights_digest(settings.weights)
    return Plan(
        settings=settings,
        iterations=iterations,
        seed=arguments.seed,
        deterministic=arguments.deterministic,
        origin=origin,
        determined_by={
            "settings": {
                origin.stage.removeprefix("train_"): settings.model_dump(),
                "seed": arguments.seed,
                "deterministic": arguments.deterministic,
                **(others or {}),
            },
            "inputs": {**inputs, "pretrained weights": pretrained, "code": origin.code},
        },
        runs=arguments.run_folder,
        runtime=Runtime.model_validate_json(arguments.runtime),
    )
