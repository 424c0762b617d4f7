"""The training loop on a network of one layer: precision, schedule, history."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from i2crc import engine  # SPLIT
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Runtime, Training
from i2crc.models.checkpoints import read_state


class Pixels:
    """Eight constant images."""

    def __len__(self) -> int:
        return 8

    def sample(self, index: int, rng: np.random.Generator) -> dict:
        return {"id": str(index), "image": torch.full((3, 4, 4), float(index))}


def plan(folder, **settings) -> engine.Plan:
    return engine.Plan(
        settings=Training(batch_size=2, **settings),
        iterations=5,
        seed=0,
        deterministic=False,
        origin=Origin(Path(__file__), []),
        fingerprint="fingerprint",
        folder=folder,
        runtime=Runtime(workers=0),
        device=torch.device("cpu"),
    )


def pictures(model: nn.Module, batch: dict) -> torch.Tensor:
    assert not model.training
    return batch["image"].clamp(0, 1)


def train(plan: engine.Plan, loss) -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(3, 1, 1)
    groups = engine.parameter_groups(model, "head", plan.settings.optimizer)
    engine.train(plan, model, groups, Pixels(), loss, pictures)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision_is_of_the_network_alone(tmp_path, precision, dtype):
    """The losses sum over whole images, which half precision cannot."""
    seen = []

    def loss(network, batch, mean_count):
        output = network(batch["image"])
        seen.append((output.dtype, torch.is_autocast_enabled("cpu")))
        return {"loss": output.float().square().mean()}

    train(plan(tmp_path, precision=precision), loss)
    assert set(seen) == {(dtype, False)}


def test_history_has_every_iteration_and_the_weights_their_fingerprint(tmp_path):
    done = plan(tmp_path, schedule={"name": "poly", "power": 1})
    train(
        done, lambda network, batch, mean_count: {"loss": network(batch["image"]).square().mean()}
    )
    with open(done.history) as file:
        rows = list(csv.DictReader(file))
    assert [int(row["iteration"]) for row in rows] == [1, 2, 3, 4, 5]
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == pytest.approx([1e-3 * (1 - n / 5) for n in range(5)])
    assert read_state(done.weights)[1]["fingerprint"] == "fingerprint"


def test_tensorboard_has_pictures_at_their_interval_and_at_the_end(tmp_path):
    done = plan(tmp_path)
    done = replace(done, runtime=Runtime(workers=0, picture_iterations=2))
    train(
        done, lambda network, batch, mean_count: {"loss": network(batch["image"]).square().mean()}
    )
    board = EventAccumulator(str(tmp_path / "tensorboard"), {"images": 0}).Reload()
    assert [event.step for event in board.Images("samples")] == [2, 4, 5]


def test_a_loss_that_is_not_finite_names_the_images(tmp_path):
    def loss(network, batch, mean_count):
        return {"loss": network(batch["image"]).sum() * float("nan")}

    with pytest.raises(engine.TrainingError, match=r"iteration 1, images \d, \d"):
        train(plan(tmp_path), loss)


def squares(network, batch, mean_count):
    return {"loss": network(batch["image"]).square().mean()}


@pytest.mark.parametrize("how", ["emptied", "cut", "of something else"])
def test_a_damaged_checkpoint_costs_a_fresh_start_and_says_so(tmp_path, caplog, how):
    whole = plan(tmp_path / "whole")
    train(whole, squares)
    interrupted = plan(tmp_path / "interrupted")
    checkpoint = interrupted.folder / "checkpoint.pt"
    interrupted.folder.mkdir()
    torch.save([1] if how == "of something else" else {"fingerprint": "fingerprint"}, checkpoint)
    if how != "of something else":
        data = checkpoint.read_bytes()
        checkpoint.write_bytes(b"" if how == "emptied" else data[: len(data) // 2])
    with caplog.at_level("WARNING", "i2crc"):
        train(interrupted, squares)
    assert f"{checkpoint}: this checkpoint is damaged" in caplog.text
    assert interrupted.weights.read_bytes() == whole.weights.read_bytes()
    assert not checkpoint.exists()


def test_damaged_weights_of_a_finished_run_are_trained_again(tmp_path, caplog):
    done = plan(tmp_path)
    train(done, squares)
    before = done.weights.read_bytes()
    done.weights.write_bytes(before[:100])
    train(done, squares)
    assert "trained again" in caplog.text
    assert done.weights.read_bytes() == before
    train(done, squares)
    assert done.weights.read_bytes() == before


def test_a_kill_before_the_checkpoint_was_removed_leaves_none(tmp_path):
    done = plan(tmp_path)
    train(done, squares)
    (tmp_path / "checkpoint.pt").write_bytes(b"left behind")
    train(done, squares)
    assert not (tmp_path / "checkpoint.pt").exists()
