"""A run that is killed in every way, restarted by the same command, ends as one left alone.

tests/soak does the same at length.
"""

import pytest

from soak.soak import Soak

SETTINGS = {"runtime": {"workers": 1, "checkpoint_seconds": 0.001, "inference_threads": 2}}


class ShortSoak(Soak):
    """Nothing but kill -9."""

    kinds = ("kill snakemake", "kill all", "kill stage")


def test_a_run_killed_three_times_ends_with_the_same_bytes(finished, tmp_path):
    soak = ShortSoak(tmp_path, finished.results, SETTINGS, kills=3, seed=1, targets=("cams",))
    soak.run()
    assert not soak.problems, "\n".join(soak.problems)


@pytest.mark.exhaustive
def test_a_run_killed_in_every_way_ends_with_the_same_bytes(finished, tmp_path):
    targets = ("refined_labels",)
    soak = Soak(tmp_path, finished.results, SETTINGS, kills=7, seed=3, targets=targets)
    soak.run()
    assert not soak.problems, "\n".join(soak.problems)
    killed = "".join(run.text() for run in soak.runs)
    assert "Nothing finished is lost" in killed
    assert "A job above was killed from outside" in killed
