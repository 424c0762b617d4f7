"""Archives in S3: fetched, resumed, refused."""

import logging
import sys

import pytest
from botocore.exceptions import ClientError

from helpers.archives import tar_bytes
from helpers.server import left_in
from i2crc.fetch.download import fetch
from i2crc.fetch.s3 import signed
from i2crc.runtime.atomic import digest_bytes, write_json
from i2crc.runtime.errors import InputError

ADDRESS = "s3://maps/voc 12/saliency.tar.gz"


def test_an_archive_is_fetched_and_a_broken_transfer_goes_on(s3, tmp_path, caplog):
    caplog.set_level(logging.INFO, "i2crc")
    data = tar_bytes({"maps/a.png": bytes(300_000)})
    made = s3.put_object(Bucket="maps", Key="voc 12/saliency.tar.gz", Body=data)
    target = tmp_path / "cache" / "maps"
    assert fetch(ADDRESS, target, digest_bytes(data)) == digest_bytes(data)
    assert target.read_bytes() == data

    target.unlink()
    (tmp_path / "cache/maps.part").write_bytes(data[:100_000])
    record = {"url": ADDRESS, "version": made["ETag"]}
    write_json(tmp_path / "cache/maps.part.json", record)
    assert fetch(ADDRESS, target) == digest_bytes(data)
    said = " ".join(record.getMessage() for record in caplog.records if record.name == "i2crc")
    assert f"{len(data)} bytes" in said and "starting again" not in said
    assert left_in(target.parent) == ["maps"]
    assert "Signature" not in said and "s3cret" not in said


def test_a_missing_object_is_reported_without_the_signature(s3, tmp_path):
    with pytest.raises(InputError, match="status 404") as error:
        fetch(ADDRESS, tmp_path / "maps")
    assert ADDRESS in str(error.value) and "Signature" not in str(error.value)


def test_missing_keys_are_reported_with_the_remedy(s3, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(InputError, match="set AWS_ACCESS_KEY_ID"):
        signed(ADDRESS)


def test_missing_boto3_is_reported_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(InputError, match="no boto3; run `make cluster`"):
        signed(ADDRESS)


def test_a_refused_role_is_reported(monkeypatch):
    def refuse(*_, **__):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole")

    monkeypatch.setattr("boto3.Session.client", refuse)
    with pytest.raises(InputError, match=r"AccessDenied.*a role may read the bucket"):
        signed(ADDRESS)


@pytest.mark.parametrize("address", ["s3://", "s3://maps", "s3://maps/", "s3:///key"])
def test_an_address_needs_a_bucket_and_a_key(address):
    with pytest.raises(InputError, match="expected s3://BUCKET/KEY"):
        signed(address)
