"""The largest of several channels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from i2crc.labels.strongest import strongest

LEVELS = st.sampled_from([0, 1, 127, 128, 255])


@given(arrays(np.float32, st.tuples(st.integers(1, 6), *[st.integers(1, 4)] * 2), elements=LEVELS))
def test_the_strongest_channel_is_the_first_of_the_largest(scores):
    found = strongest(scores)
    assert found.dtype == np.uint8
    assert np.array_equal(found, scores.argmax(axis=0))
