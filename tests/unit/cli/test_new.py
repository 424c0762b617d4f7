"""`i2crc new`: from a folder of photographs to a configuration that runs."""

import argparse
import os
import subprocess
import sys
from http.client import BadStatusLine
from pathlib import Path
from unittest.mock import Mock
from urllib.error import HTTPError

import pytest

from helpers.drawn import draw_class_folders
from helpers.project import run
from i2crc.cli.new import main, this_machine
from i2crc.config.load import load_config, read_yaml
from i2crc.config.schema import Weights
from i2crc.models import pretrained

COMMAND = Path(sys.executable).with_name("i2crc")


def new(folder: Path, *words: str) -> subprocess.CompletedProcess:
    return run([sys.executable, "-m", "i2crc.cli.main", "new", *words], folder)


def test_an_existing_file_is_kept_unless_forced(tmp_path):
    (tmp_path / "my animals.yaml").write_text("mine")
    done = new(tmp_path, "my photos", "--output", "my animals.yaml")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == (
        "i2crc new: my animals.yaml: exists; give --output another name, or --force to overwrite "
        "it\n"
    )
    assert (tmp_path / "my animals.yaml").read_text() == "mine"


def test_without_an_estimate_there_is_a_configuration_and_the_next_command(
    tmp_path, monkeypatch, capsys
):
    draw_class_folders(tmp_path / "photos", ["cat", "dog"], 6)
    monkeypatch.setattr("i2crc.evaluation.estimate.measure", Mock(side_effect=MemoryError))
    output = tmp_path / "mine.yaml"
    status = main(argparse.Namespace(photos=tmp_path / "photos", output=output, force=False))
    said = capsys.readouterr().out
    assert status == 0 and "Next:" in said
    assert "No estimate of time and disk (MemoryError)." in said
    assert said.splitlines()[-1].endswith(f"--configfile {output}")
    assert load_config(read_yaml(output), "").dataset.format == "folders"


def test_problems_that_stop_a_run_are_the_exit_status(tmp_path, monkeypatch, capsys):
    draw_class_folders(tmp_path / "photos", ["cat", "dog"], 6)
    (tmp_path / "photos/cat/broken.jpg").write_text("no photograph")
    output = tmp_path / "mine.yaml"
    status = main(argparse.Namespace(photos=tmp_path / "photos", output=output, force=False))
    said = capsys.readouterr().out
    assert "Found:" in said and "Measuring" not in said
    assert status == 1 and load_config(read_yaml(output), "").dataset.format == "folders"
    assert "A run stops at these, so correct them first:\n" in said and "broken.jpg" in said
    assert "Next, after you have corrected what a run stops at:" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing", "--output", "a.yaml"], "nothing: no such folder; give the folder"),
        (["my photos", "--output", "a.txt"], "a.txt: no YAML file; give --output a name that"),
        (["my animals.yaml", "--output", "a.yaml"], "my animals.yaml: is a file; give"),
        (["nothing", "--output", "b/a.yaml"], "b/a.yaml: no such folder b; make it, or give"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, words, said):
    (tmp_path / "my animals.yaml").touch()
    done = new(tmp_path, *words)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"i2crc new: {said}")
    assert not (tmp_path / "a.yaml").exists() and not (tmp_path / "b").exists()


def test_the_gpus_and_their_memory_are_those_of_the_driver(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *query*) echo 16384;; *) printf "GPU 0: A\\nGPU 1: A\\n";; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(pretrained, "is_at_hand", lambda backbone, weights: backbone == "vgg16")
    machine = this_machine()
    assert (machine.gpus, machine.gpu_memory, machine.weights) == (2, 16 << 30, False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert (this_machine().gpus, this_machine().gpu_memory) == (0, 0)


def test_weights_are_at_hand_if_their_file_is_here(tmp_path, monkeypatch):
    weights = Weights(source="torchvision", name="IMAGENET1K_V1")
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    address = "https://example.org/vgg16.pth"
    for refuse in (
        OSError("no network"),
        HTTPError(address, 403, "no", None, None),
        BadStatusLine(""),
    ):
        monkeypatch.setattr(pretrained, "urlopen", Mock(side_effect=refuse))
        assert not pretrained.is_at_hand("vgg16", weights)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/vgg16-397923af.pth").touch()
    assert pretrained.is_at_hand("vgg16", weights)
