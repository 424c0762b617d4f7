"""Folded batch norms: the network computes the same, whatever takes the outputs of convolutions."""

import pytest
import torch
from timm.layers import BatchNormAct2d, StdConv2d
from torch import nn

from i2crc.config.schema import Segmentation
from i2crc.inference import prediction
from i2crc.models.backbones import resnet101_features, timm_features
from i2crc.models.deeplab import build_segmentation
from i2crc.models.folding import fold_batch_norms
from i2crc.models.weight_files import save_weights

PREPROCESSING = {"order": "rgb", "scale": 255, "mean": [0.5] * 3, "std": [0.2] * 3}


def trained(model: nn.Module) -> nn.Module:
    """Return a network in evaluation mode whose batch norms have all kinds of values."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def left_after_folding(model: nn.Module) -> int:
    """Fold the batch norms of a network, check its outputs; return how many are left."""
    pictures = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        before = model(pictures)
    fold_batch_norms(model, 64)
    with torch.no_grad():
        after = model(pictures)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))
    return norms(model)


class Steps(nn.Module):
    """The sum of some sequences of modules, each named by a letter.

    c, d and s are convolutions, m and n batch norms; "+" adds what m makes of the values to them.
    """

    def __init__(self, sequences: list[str], norm: type[nn.BatchNorm2d]) -> None:
        super().__init__()
        self.sequences = sequences
        self.c, self.d = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1, bias=False)
        self.s = StdConv2d(3, 3, 1)  # which standardises its weights
        self.m, self.n = norm(3), norm(3)
        self.r, self.i = nn.ReLU(inplace=True), nn.Identity()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        results = []
        for sequence in self.sequences:
            values = pictures.clone()
            for step in sequence:
                values = values + self.m(values) if step == "+" else getattr(self, step)(values)
            results.append(values)
        return sum(results)


@pytest.mark.parametrize(
    ("sequences", "left"),
    [
        (["cmdn"], 0),
        (["cimrdn"], 0),
        (["cmrcm"], 1),  # n is never used
        (["crm"], 2),
        (["c+"], 2),
        (["cm", "cn"], 2),
        (["cm", "dm"], 2),
        (["cm", "c"], 2),
        (["cm", "m"], 2),
        (["mc"], 2),
        (["sm"], 2),
    ],
)
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, BatchNormAct2d])
def test_only_what_takes_all_outputs_of_a_convolution_alone_is_folded(sequences, left, norm):
    assert left_after_folding(trained(Steps(sequences, norm))) == left


@pytest.mark.parametrize(
    ("name", "left"), [("resnet18", 0), ("efficientnet_lite0", 0), ("repvgg_a0", 17)]
)
def test_backbones_compute_the_same(name, left):
    assert left_after_folding(trained(timm_features(name, 16, None)[0])) == left


def test_in_inference_mode_the_network_stays_as_it_is():
    with torch.inference_mode():
        assert left_after_folding(trained(Steps(["cmdn"], nn.BatchNorm2d))) == 2


@pytest.mark.exhaustive
def test_the_published_backbone_computes_the_same():
    assert left_after_folding(trained(resnet101_features())) == 0


def test_a_loaded_network_is_folded_and_predicts_the_same(tmp_path):
    frozen = {"backbone": "efficientnet_lite0", "backbone_stage": 3, "freeze_stages": 3}
    settings = Segmentation(**frozen, aspp_rates=[2])
    model = trained(build_segmentation(settings, 2))
    metadata = {"classes": ["a", "b"], "preprocessing": PREPROCESSING}
    file = tmp_path / "weights.safetensors"
    save_weights(file, model, {**metadata, "settings": settings.model_dump()})
    loaded, _ = prediction.load_segmentation(file, torch.device("cpu"))
    assert norms(model) and not norms(loaded)
    pictures = torch.randn(1, 3, 70, 90)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(pictures), model(pictures), rtol=1e-4, atol=1e-4)
