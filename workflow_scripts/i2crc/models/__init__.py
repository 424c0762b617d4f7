"""Networks, backbones, pretrained weights, weight files."""
