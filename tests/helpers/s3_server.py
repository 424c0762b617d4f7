"""A complete S3 server on the loopback, and the environment that points to it."""

from collections.abc import Iterator

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer


@pytest.fixture
def s3(monkeypatch, tmp_path) -> Iterator:
    """Yield a client of an S3 that holds one empty bucket, `maps`."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.Session().client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="maps")
    yield client
    requests.post(f"http://{host}:{port}/moto-api/reset", timeout=10)
    server.stop()
