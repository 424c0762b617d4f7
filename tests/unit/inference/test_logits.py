"""Logits as files: what is stored, what half precision costs, what a damaged file says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from i2crc.inference.logits import read_logits, rounded_logits, write_logits
from i2crc.runtime.errors import InputError

LOGITS = arrays(np.float32, (3, 4, 5), elements=st.floats(-500, 500, width=32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("logits")


@given(LOGITS)
def test_logits_come_back_as_the_nearest_half_precision_numbers(folder, logits):
    write_logits(folder / "a.npz", logits)
    found = read_logits(folder / "a.npz")
    assert found.dtype == np.float16
    assert np.array_equal(found, logits.astype(np.float16))


@given(arrays(np.float32, (2, 3, 4, 5), elements=st.floats(-1e6, 1e6, width=32)))
def test_logits_beyond_half_precision_keep_the_labels(logits):
    rounded = rounded_logits(logits).astype(np.float32)
    assert np.isfinite(rounded).all()
    chosen = np.take_along_axis(rounded, logits.argmax(axis=1)[:, None], axis=1)[:, 0]
    assert np.array_equal(chosen, rounded.max(axis=1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(folder, value):
    logits = np.zeros((3, 4, 5), np.float32)
    logits[1, 2, 3] = value
    with pytest.raises(InputError, match=r"photo_7: .* not finite: train it again with a lower"):
        write_logits(folder / "photo_7.npz", logits)


def test_the_same_logits_are_the_same_bytes(folder):
    logits = np.random.default_rng(0).normal(size=(21, 40, 50)).astype(np.float32)
    for name in ("one.npz", "two.npz"):
        write_logits(folder / name, logits)
    assert (folder / "one.npz").read_bytes() == (folder / "two.npz").read_bytes()
    assert (folder / "one.npz").stat().st_size < logits.nbytes / 2


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:100], lambda data: b"x"])
def test_a_damaged_file_is_named(folder, damage):
    path = folder / "damaged.npz"
    write_logits(path, np.zeros((3, 4, 5), np.float32))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"damaged\.npz: no readable logits .*run again"):
        read_logits(path)


def test_no_pickle_is_loaded(folder):
    path = folder / "pickled.npz"
    np.savez(path, logits=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"pickled\.npz: no readable logits"):
        read_logits(path)
