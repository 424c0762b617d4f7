"""The memory of the dense CRF: the estimate against a measurement, and the workers that fit."""

import logging
import subprocess
import sys
from dataclasses import replace

import pytest

from i2crc.data.index import Entry, Index
from i2crc.evaluation.preflight import memory_problems
from i2crc.labels import crf_memory

SIDE = 500
# Prints the bytes that the CRF adds to what the process has taken before.
MEASURE = """
import re, sys
import numpy as np
from i2crc.config.schema import Crf
from i2crc.labels.dense_crf import dense_crf
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
side, labels = map(int, sys.argv[1:3])
y, x = np.mgrid[:side, :side] // 4 % 256
random = np.random.default_rng(0)
# Nearly as much detail as in the photographs that take most.
photo = np.stack([x, y, x ^ y], axis=-1) + random.integers(0, 48, (side, side, 3))
photo = photo.clip(0, 255).astype(np.uint8)
logits = random.normal(size=(labels, side // 8, side // 8)).astype(np.float32)
settings = Crf(iterations=1, engine=sys.argv[3])
dense_crf(photo[:8, :8], logits[:, :1, :1], settings)  # loads the libraries
before = peak()
dense_crf(photo, logits, settings).argmax(axis=0)
print(before, peak() - before)
"""


def entry(name: str, width: int, height: int) -> Entry:
    return Entry(name, f"{name}.jpg", None, [0], width, height, "1")


@pytest.mark.parametrize(
    ("labels", "engine"),
    [
        (21, "pydensecrf"),
        (3, "lattice"),
        *(pytest.param(n, "pydensecrf", marks=pytest.mark.exhaustive) for n in (3, 81)),
    ],
)
def test_the_estimate_is_a_little_more_than_what_the_crf_takes(labels, engine):
    command = [sys.executable, "-c", MEASURE, str(SIDE), str(labels), engine]
    done = subprocess.run(
        command, env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=True
    )
    worker, taken = map(int, done.stdout.split())
    assert worker < 1.4 * crf_memory.WORKER
    estimate = crf_memory.worker_bytes((SIDE, SIDE), labels) - crf_memory.WORKER
    assert 1 < estimate / taken < 1.6


@pytest.fixture
def index() -> Index:
    return Index("val", ["c"] * 80, [entry("a", 40, 30), entry("b", 4000, 3000)])


@pytest.mark.parametrize(
    ("gigabytes", "jobs", "workers"),
    [(400, 1, 4), (130, 1, 2), (400, 4, 1), (10, 1, 1), (400, 0, 4)],
)
def test_workers_are_as_many_as_fit(index, monkeypatch, caplog, gigabytes, jobs, workers):
    monkeypatch.setattr(crf_memory, "free_memory", lambda: gigabytes * 10**9)
    with caplog.at_level(logging.INFO, logger="i2crc"):
        assert crf_memory.workers_that_fit(*crf_memory.largest([index]), 4, jobs) == workers
    photograph = "b.jpg (4000x3000 pixels, 81 labels)"
    words = f"{workers} workers instead of 4: {photograph} takes 62.1 GB in each"
    assert (words in caplog.text) == (workers < 4)


def test_a_shard_without_images_takes_nothing():
    nothing = crf_memory.largest([Index("val", ["c"], [])])
    assert crf_memory.workers_that_fit(*nothing, 4) == 4


def test_own_classes_take_less():
    known, unknown = entry("a", 40, 30), replace(entry("b", 40, 30), classes=None)
    names = ["c"] * 80
    words, needed = crf_memory.largest([Index("train", names, [known])], "likely")
    assert words == "a.jpg (40x30 pixels, 2 labels)"
    assert needed == crf_memory.worker_bytes((40, 30), 2)
    both = crf_memory.largest([Index("train", names, [known, unknown])], "likely")
    assert both[0] == "b.jpg (40x30 pixels, 81 labels)"


def test_preflight_names_the_photograph_that_does_not_fit(index, monkeypatch):
    monkeypatch.setattr("i2crc.evaluation.preflight.free_memory", lambda: 100 * 10**9)
    photograph, needed = crf_memory.largest([index])
    assert not memory_problems(photograph, needed, 1)
    assert not memory_problems(photograph, 2 * needed, 0)
    (two_jobs,) = memory_problems(photograph, needed, 2)
    words = "b.jpg (4000x3000 pixels, 81 labels): its CRF takes about 62.08 GB"
    assert str(two_jobs).startswith(words)
    assert "runtime.inference_threads to the number of --cores" in str(two_jobs)
    (neither,) = memory_problems(photograph, 2 * needed, 2)
    assert "for 2 jobs at a time" in str(neither) and "inference_threads" not in str(neither)
    (alone,) = memory_problems(photograph, 2 * needed, 1)
    assert "100.00 GB" in str(alone) and "lower dataset.max_side, or name fewer classes" in str(
        alone
    )
    assert "inference_threads" not in str(alone)
