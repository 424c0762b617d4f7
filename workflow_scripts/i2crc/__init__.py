"""I2CRC: weakly supervised semantic segmentation from image-level labels and saliency maps.

The library behind the command lines in ``workflow_scripts/``. It knows nothing of Snakemake.
"""
