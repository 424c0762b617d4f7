"""I2CRC: weakly supervised semantic segmentation from image-level labels and saliency maps.

The library behind the command lines in `workflow_scripts/`. Its packages, from the ground up, are
runtime, config, artifacts, fetch, data, models, labels, training, inference, evaluation, report and
cli; each imports only those before it.
"""
