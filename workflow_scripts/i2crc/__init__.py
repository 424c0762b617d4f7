"""I2CRC: weakly supervised semantic segmentation from image-level labels and saliency maps.

The library behind the command lines in `workflow_scripts/`. Its packages, from the ground up, are
runtime, config, artifacts, fetch, data, models, labels, training, inference, evaluation, report and
cli; each imports only those before it.

`i2crc.load_model(path)` returns the model of a run's file, which is called with a photograph.
"""

import os
import platform
from importlib import import_module
from typing import Any

# The threads of a parallel region wait for the next one asleep. By default they spin, and a
# training beside another program on the same cores is many times slower. Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Where numba keeps machine code: a folder for each machine, whose processor may lack instructions
# of another one. Read when numba loads.
_CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
os.environ.setdefault("NUMBA_CACHE_DIR", os.path.join(_CACHE, "i2crc", "numba", platform.node()))


def __getattr__(name: str) -> Any:
    """Return `load_model`, whose module is imported only now, because torch takes seconds."""
    if name == "load_model":
        return import_module("i2crc.inference.model").load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
