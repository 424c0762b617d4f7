"""The stages on a real GPU; skipped on a machine without one."""

import csv
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers.artifacts import artifacts
from helpers.project import Project, run
from helpers.training import Training, runtime, wait_for_iteration
from i2crc.config.schema import Crf
from i2crc.data.images import read_photo
from i2crc.inference.prediction import (
    load_segmentation,
    network_label,
    precision_of,
    predict_logits,
)
from i2crc.labels import dense_crf, gpu_crf

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")

ON_GPU = ("--gpus", "1", "--deterministic")
# Settings of trainings that are compared, so that they differ only by rounding.
CLOSE = {
    "precision": "fp32",
    "batch_norm": "freeze",
    "backbone_stage": 3,
    "output_stride": 16,
    "epochs": 2,
    "optimizer": {"learning_rate": 1e-3},
}
ALL_CORES = ("--cores", "all")
DETERMINISTIC = {"deterministic": True, "runtime": {"training_threads": 2, "crf_on_gpu": True}}


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory) -> Project:
    """The reduced demo, run to its end on the GPU with deterministic kernels."""
    project = Project.new(tmp_path_factory.mktemp("cuda") / "project")
    done = project.snakemake(*ALL_CORES, settings=DETERMINISTIC)
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def training(on_gpu, tmp_path) -> Training:
    return Training(on_gpu.results, tmp_path)


def train(training: Training, name: str, *arguments: str, **settings) -> str:
    """Train to the end; return the log."""
    command = training.command(name, *runtime(), *arguments, **settings)
    done = run(command, training.results.parents[1])
    assert done.returncode == 0, done.stderr
    return done.stderr


def losses(training: Training, name: str) -> list[float]:
    text = (training.folder / name / "history.csv").read_text()
    return [float(row["loss"]) for row in csv.DictReader(text.splitlines())]


def test_networks_run_on_the_gpu(on_gpu):
    stages = {"train_classifier", "infer_cam", "train_segmentation", "predict", "crf"}
    logs = on_gpu.results / "logs"
    files = {p: p.relative_to(logs).parts[0].removesuffix(".log") for p in logs.rglob("*.log")}
    said = [file.read_text() for file, stage in files.items() if stage in stages]
    assert len(said) == 1 + 1 + 2 + 2 + 2
    assert all(torch.cuda.get_device_name() in text for text in said)


def test_the_crf_is_that_of_pydensecrf():
    random = np.random.default_rng(0)
    photo = random.integers(0, 60, (90, 121, 3)).astype(np.uint8)
    probabilities = np.full((3, 90, 121), 0.3, np.float32)
    probabilities[random.integers(3)][20:60, 30:80] = 0.4
    expected = dense_crf.mean_field(photo, probabilities, Crf(engine="pydensecrf"))
    found = gpu_crf.mean_field(photo, probabilities, Crf(), "cuda")
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_half_precision_predicts_nearly_the_same_labels(on_gpu):
    weights = on_gpu.results / "segmentation/final/weights.safetensors"
    photo = np.asarray(read_photo(next(on_gpu.results.glob("dataset/JPEGImages/*.jpg"))))
    labels = []
    for device, precision in (("cpu", "fp32"), ("cuda", "fp16")):
        model, preprocessing = load_segmentation(weights, torch.device(device))
        assert precision_of(model) == precision
        logits = predict_logits(model, photo, preprocessing)
        labels.append(network_label(logits, photo.shape[:2])[0])
    assert (labels[0] == labels[1]).mean() > 0.99


def test_deterministic_runs_have_the_same_bytes(on_gpu, tmp_path):
    again = Project.new(tmp_path / "project")
    done = again.snakemake(*ALL_CORES, settings=DETERMINISTIC)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = artifacts(on_gpu.results), artifacts(again.results)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_the_gpu_computes_what_the_cpu_does(training):
    train(training, "cpu", **CLOSE)
    assert torch.cuda.get_device_name() in train(training, "gpu", "--gpus", "1", **CLOSE)
    assert losses(training, "gpu") == pytest.approx(losses(training, "cpu"), rel=1e-3)


def test_a_killed_training_continues_and_ends_with_the_same_bytes(training):
    train(training, "whole", *ON_GPU)
    process = training.start("killed", *runtime(checkpoint_seconds=0.001), *ON_GPU)
    wait_for_iteration(process, 7)
    process.kill()
    process.communicate()
    assert "resumed at iteration" in train(training, "killed", *ON_GPU)
    whole, killed = (training.weights(name).read_bytes() for name in ("whole", "killed"))
    assert whole == killed


@pytest.mark.parametrize("batch_norm", ["freeze", "train"])
def test_a_process_of_nccl_computes_what_one_without_does(training, batch_norm):
    """The process group, gradients and batch norm of several GPUs, as far as one can show them."""
    settings = {**CLOSE, "batch_norm": batch_norm}
    train(training, "alone", *ON_GPU, **settings)
    command = training.command("nccl", *runtime(), *ON_GPU, **settings)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1", "--"]
    done = run([sys.executable, *torchrun, *command[1:]], training.results.parents[1])
    assert done.returncode == 0, done.stderr
    assert losses(training, "nccl") == pytest.approx(losses(training, "alone"), rel=1e-3)
    alone, nccl = (load_file(training.weights(name)) for name in ("alone", "nccl"))
    for name, value in alone.items():
        assert (value - nccl[name]).abs().max() <= 1e-3 * max(1, value.abs().max()), name


def test_jobs_side_by_side_take_turns_and_one_without_sees_none(training):
    started = [training.start(name, *runtime(), *ON_GPU) for name in ("first", "second")]
    outside = train(training, "none", "--gpus", "0", epochs=1)
    said = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert sum("waiting for 1 of the GPUs" in text for text in said) == 1
    assert all("leased 1 of the GPUs" in text for text in said)
    assert "CPU, 1 processes" in outside
