"""How an artifact was made: the facts that every manifest, score and checkpoint carries.

A JSON artifact holds them under "provenance". Any other file has them beside it, in the JSON file
`NAME.provenance`, together with its "sha256" and its size in "bytes". See `Origin.describe`.
"""

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from i2crc.artifacts.code_digest import code_digest
from i2crc.artifacts.schemas import Schema, checked, read_checked
from i2crc.config.schema import Section
from i2crc.runtime.atomic import digest_file, digest_value, read_json, write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import STARTED

LIBRARY = Path(__file__).parents[1]
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numba",
    "numpy",
    "pillow",
    "onnxruntime",
    "pydensecrf2",
    "matplotlib",
    "snakemake",
)


@dataclass
class Origin:
    """What a script makes its outputs from.

    `inputs` are the files that the script reads. `settings` is the section of the configuration,
    or the JSON value, that it was given. `seed` is set if it draws random numbers, `precision` if
    it computes with a network. `device` is named as in torch; it may be set later.
    """

    script: Path
    inputs: Sequence[Path]
    settings: Any = None
    seed: int | None = None
    precision: str | None = None
    device: str = "cpu"

    @property
    def stage(self) -> str:
        """The name of the stage, which is that of its script."""
        return Path(self.script).stem

    @cached_property
    def code(self) -> str:
        """The digest of the code that the script runs."""
        return code_digest(Path(self.script))

    @cached_property
    def input_digests(self) -> dict[Path, str]:
        """The `content_digest` of each input."""
        return {path: content_digest(path) for path in self.inputs}

    def key(self) -> list[Any]:
        """Return what determines the result beside the inputs: code, settings and seed."""
        return [self.code, self.values(), self.seed]

    def fingerprint(self) -> str:
        """Return a digest of everything that determines the result."""
        return digest_value([*self.key(), *self.input_digests.values()])

    def values(self) -> Any:
        """Return the settings as a JSON value."""
        return self.settings.model_dump() if isinstance(self.settings, Section) else self.settings

    def describe(self, output: Path) -> dict[str, Any]:
        """Return the provenance of `output`, which is finished now: `lasting`, and the time.

        "start" is the start of this process (ISO 8601, UTC), "seconds" its duration until now.
        """
        start = datetime.fromtimestamp(STARTED, UTC).isoformat(timespec="seconds")
        return {
            **self.lasting(output),
            "start": start,
            "seconds": round(time.time() - STARTED, 3),
        }

    def lasting(self, output: Path) -> dict[str, Any]:
        """Return the facts that do not change when `output` is made again on this machine.

        "inputs" are `recorded_inputs`. "git" is `git_revision`.
        """
        settings = self.values()
        return {
            "script": self.stage,
            "settings": settings,
            "settings_sha256": digest_value(settings),
            "code_sha256": self.code,
            "inputs": self.recorded_inputs(output),
            "seed": self.seed,
            "precision": self.precision,
            "device": device_name(self.device),
            "versions": versions(),
            "git": git_revision(),
        }

    def recorded_inputs(self, output: Path) -> dict[str, str]:
        """Return the digests of the inputs by their paths relative to the folder of `output`."""
        folder = Path(output).parent
        return {os.path.relpath(path, folder): sha for path, sha in self.input_digests.items()}


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a file; of a JSON artifact, that of its content without provenance.

    So two runs that made the same have the same digest. The paths in an index do not count either:
    it holds the digests of the photographs and masks. Raise InputError if the file is missing.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing; run the stage that makes it again")
    if path.suffix == ".json":
        content = read_json(path, _what_counts)
        if isinstance(content, dict) and "provenance" in content:
            del content["provenance"]
            return digest_value(content)
    return digest_file(path)


def _what_counts(content: dict[str, Any]) -> Any:
    """Return an object of a JSON artifact; of an image of an index, a digest without paths."""
    if not {"image", "sha256"} <= content.keys():
        return content
    paths = {key: bool(content.get(key)) for key in ("image", "mask", "trusted_mask")}
    return digest_value({**content, **paths})


def read_provenance(path: Path) -> dict[str, Any] | None:
    """Return the provenance of an artifact, or None. Raise InputError if it is damaged."""
    beside = provenance_file(path)
    if beside.is_file():
        return read_checked(beside, Schema)
    content = read_json(path) if path.suffix == ".json" else None
    facts = content.get("provenance") if isinstance(content, dict) else None
    return None if facts is None else checked(path, facts, Schema)


def write_beside(output: Path, facts: dict[str, Any]) -> None:
    """Write the provenance of a file that cannot hold it itself, with its SHA-256 and bytes."""
    own = {"sha256": digest_file(output), "bytes": output.stat().st_size}
    write_json(provenance_file(output), {**facts, **own})


def provenance_file(path: Path) -> Path:
    """Return where the provenance of a file that is not JSON stands."""
    return path.with_name(f"{path.name}.provenance")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def device_name(device: str) -> str:
    """Return `cpu` or `cuda:N` with the name of its model."""
    if device.startswith("cuda"):
        import torch  # only here: stages without a network do not need it

        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({cpu_model()})"


def cpu_model() -> str:
    """Return the name of the processor's model."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def git_revision() -> dict[str, Any] | None:
    """Return the revision of this code, and whether tracked files differ from it.

    None outside a git repository.
    """
    revision = _git("rev-parse", "HEAD")
    if revision is None:
        return None
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "changed": bool(status)}


def _git(*arguments: str) -> str | None:
    # Without locks: `git status` must not make git commands of the user fail.
    command = ["git", "--no-optional-locks", "-C", str(LIBRARY), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
