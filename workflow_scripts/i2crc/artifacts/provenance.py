"""How an artifact was made: the facts that every manifest, score and checkpoint carries.

JSON artifacts hold them under "provenance"; any other file has them beside it, in
`NAME.provenance`, as JSON of the same form (see `Origin.describe`) with its "sha256".
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

from i2crc.artifacts.code_digest import LIBRARY, code_digest
from i2crc.artifacts.schemas import Schema, checked, read_checked
from i2crc.config.schema import Section
from i2crc.runtime.atomic import digest_file, digest_value, read_json, write_json
from i2crc.runtime.log import STARTED

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "pydensecrf2",
    "matplotlib",
    "snakemake",
)


@dataclass
class Origin:
    """What a script makes its outputs from.

    `settings` is the section of the configuration (or the JSON value) that the script was given,
    `inputs` are the files that it reads. `seed` and `precision` are set where it draws or computes
    with a network; `device` is named as torch names it, and set when it is known.
    """

    script: Path
    inputs: Sequence[Path]
    settings: Any = None
    seed: int | None = None
    precision: str | None = None
    device: str = "cpu"

    @property
    def stage(self) -> str:
        """The stage's name, which is its script's."""
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
        """Return the provenance of `output`, finished now: `lasting` and the time that it took.

        "start" is ISO 8601 in UTC, "seconds" the duration of this process.
        """
        start = datetime.fromtimestamp(STARTED, UTC).isoformat(timespec="seconds")
        return {
            **self.lasting(output),
            "start": start,
            "seconds": round(time.time() - STARTED, 3),
        }

    def lasting(self, output: Path) -> dict[str, Any]:
        """Return the facts that do not change when `output` is made again on this machine.

        "inputs" maps paths relative to the output's folder to their `content_digest`; "git" is the
        revision and whether tracked files differ from it, or null outside a repository.
        """
        folder = Path(output).parent
        settings = self.values()
        digests = self.input_digests
        return {
            "script": self.stage,
            "settings": settings,
            "settings_sha256": digest_value(settings),
            "code_sha256": self.code,
            "inputs": {os.path.relpath(path, folder): sha for path, sha in digests.items()},
            "seed": self.seed,
            "precision": self.precision,
            "device": device_name(self.device),
            "versions": versions(),
            "git": git_revision(),
        }


def content_digest(path: Path) -> str:
    """SHA-256 of a file; of a JSON artifact, of its content but the provenance.

    So it says whether two runs made the same, whenever and wherever they did. Of an index, where
    its files are does not count either: it holds the digests of the photographs.
    """
    if path.suffix == ".json":
        content = read_json(path)
        if isinstance(content, dict) and "provenance" in content:
            return digest_value(_what_counts(content))
    return digest_file(path)


def _what_counts(content: dict[str, Any]) -> dict[str, Any]:
    counted = {key: value for key, value in content.items() if key != "provenance"}
    images = counted.get("images")  # of an index; of scores, their number
    if isinstance(images, list) and all(isinstance(entry, dict) for entry in images):
        counted["images"] = [{**e, "image": "", "mask": bool(e.get("mask"))} for e in images]
    return counted


def read_provenance(path: Path) -> dict[str, Any] | None:
    """The provenance of an artifact, or None where it has none."""
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
    """Where the provenance of a file is that is no JSON."""
    return path.with_name(f"{path.name}.provenance")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, as far as installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def device_name(device: str) -> str:
    """`cpu` or `cuda:N` with the name of the model."""
    if device.startswith("cuda"):
        import torch  # stages without a network do not load it

        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({cpu_model()})"


def cpu_model() -> str:
    """The processor's name as the kernel knows it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def git_revision() -> dict[str, Any] | None:
    """The revision of this code, and whether tracked files were changed since."""
    revision = _git("rev-parse", "HEAD")
    if revision is None:
        return None
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "changed": bool(status)}


def _git(*arguments: str) -> str | None:
    # Without locks: a status must never be in the way of the user's own git.
    command = ["git", "--no-optional-locks", "-C", str(LIBRARY), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
