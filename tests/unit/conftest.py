"""One thread, and the same hypothesis examples on every run."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("unit", max_examples=60, deadline=None, derandomize=True, database=None)
settings.load_profile("unit")
