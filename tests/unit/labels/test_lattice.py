"""The dense CRF of numba computes what pydensecrf does, wherever its compiled code is kept."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.project import ROOT
from i2crc.config.schema import Crf
from i2crc.labels import lattice
from i2crc.labels.dense_crf import crf_label, mean_field

sides = st.integers(1, 12)
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
PYDENSECRF = {"engine": "pydensecrf"}
# Prints the sum of the marginals of a drawn photograph.
RUN = """
import numpy as np
from i2crc.config.schema import Crf
from i2crc.labels.dense_crf import mean_field
photo = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
print(mean_field(photo, np.full((2, 8, 8), 0.5, np.float32), Crf(engine="lattice")).sum())
"""


# Of 1 grey level the picture is constant; of 6 it is as dark as the pixels that fill up a block.
@given(sides, sides, st.integers(1, 6), st.sampled_from([1, 6, 60, 256]), st.data(), seeds)
def test_the_marginals_are_those_of_pydensecrf(height, width, labels, levels, data, random):
    settings = Crf(
        image=data.draw(st.sampled_from(["real", "legacy"])),
        gaussian_xy=data.draw(st.sampled_from([1, 3])),
        gaussian_weight=data.draw(st.sampled_from([0, 3])),
        bilateral_xy=data.draw(st.sampled_from([1, 5, 67])),
        bilateral_rgb=data.draw(st.sampled_from([1, 3, 13])),
        iterations=data.draw(st.sampled_from([1, 10])),
    )
    photo = random.integers(0, levels, (height, width, 3)).astype(np.uint8)
    scores = random.dirichlet(np.ones(labels), (height, width)).astype(np.float32)
    probabilities = np.ascontiguousarray(scores.transpose(2, 0, 1))
    given = probabilities.copy()
    expected = mean_field(photo, probabilities, settings.model_copy(update=PYDENSECRF))
    found = mean_field(photo, probabilities, settings)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_array_equal(probabilities, given)


@pytest.mark.parametrize("classes", [None, [], [0, 2], range(20)])
@pytest.mark.parametrize("labels", ["all", "likely"])
def test_the_labels_are_those_of_pydensecrf(classes, labels):
    random = np.random.default_rng(0)
    photo = np.repeat(random.integers(0, 256, (9, 1, 3)), 70, axis=1).repeat(7, axis=0)
    photo = (photo * 0.9 + random.integers(0, 25, photo.shape)).astype(np.uint8)
    logits = random.normal(0, 2, (21, 9, 10)).astype(np.float16)
    settings = Crf(labels=labels, min_probability=0.9)
    published = settings.model_copy(update=PYDENSECRF)
    expected, marginal = crf_label(photo, logits, published, classes)
    label, found = crf_label(photo, logits, settings, classes)
    np.testing.assert_array_equal(label, expected)
    assert label.dtype == expected.dtype
    np.testing.assert_allclose(found, marginal, atol=1e-3)


def test_the_engine_is_that_of_the_settings(monkeypatch):
    monkeypatch.setattr(lattice, "mean_field", lambda *_: "lattice")
    photo, half = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 2), 0.5, np.float32)
    assert mean_field(photo, half, Crf()) == "lattice"
    assert np.allclose(mean_field(photo, half, Crf(engine="pydensecrf")), 0.5)


def test_extreme_widths_and_weights_stay_finite():
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (9, 400, 3)).astype(np.uint8)
    probabilities = np.full((3, 9, 400), 1 / 3, np.float32)
    for settings in (
        Crf(gaussian_xy=1e-3, bilateral_xy=1e-3, bilateral_rgb=1e-3),
        Crf(gaussian_xy=1e9, bilateral_xy=1e9, bilateral_rgb=1e9),
        Crf(gaussian_weight=1e6, bilateral_weight=1e6),
    ):
        assert np.isfinite(mean_field(photo, probabilities, settings)).all()


@pytest.mark.exhaustive
@pytest.mark.parametrize("content", [None, b""], ids=["unwritable", "damaged"])
def test_without_a_cache_it_computes_all_the_same(tmp_path, content):
    """There is a file in place of the folder, or the files in it were cut off."""
    cache = tmp_path / "cache"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow_scripts")}
    environment |= {"NUMBA_CACHE_DIR": str(cache)}
    if content is None:
        cache.write_bytes(b"")
    else:
        subprocess.run([sys.executable, "-c", RUN], env=environment, check=True)
        files = [path for path in cache.rglob("*") if path.is_file()]
        assert files
        for path in files:
            path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "64.0"


@pytest.mark.exhaustive
def test_processes_compile_at_the_same_time(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow_scripts")}
    environment |= {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", RUN]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert {process.communicate()[0].strip() for process in started} == {"64.0"}
    assert {process.returncode for process in started} == {0}
    assert list(tmp_path.rglob("*.nbc"))
