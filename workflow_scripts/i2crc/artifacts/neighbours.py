"""Finished work of the experiments beside one, which it takes over instead of computing it again.

The folder of an experiment holds its settings, `config.yaml`; the others are beside that folder.
"""

import os
import shutil
from pathlib import Path

from i2crc.runtime.atomic import atomic_path

SETTINGS = "config.yaml"


def in_neighbours(path: Path) -> list[Path]:
    """Return where a file or folder of an experiment is in the experiments beside it.

    Only those that can be read; none if the path is not below the folder of an experiment.
    """
    path = Path(os.path.abspath(path))
    own = next((folder for folder in path.parents if (folder / SETTINGS).is_file()), None)
    if own is None:
        return []
    others = (file.parent for file in sorted(own.parent.glob(f"*/{SETTINGS}")))
    places = [other / path.relative_to(own) for other in others if other != own]
    return [place for place in places if os.access(place, os.R_OK)]


def take(source: Path, target: Path) -> None:
    """Put a finished file to another place: as a link, or as a copy where links are impossible.

    Finished files are only ever replaced as a whole, so nobody writes into both.
    """
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copy2(source, temporary)  # with its time stamp, by which a journal knows it
