"""Objects in S3, named s3://BUCKET/KEY.

Keys, region and endpoint come from the usual places: the environment (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL), ~/.aws, or the role of the machine.
"""

from i2crc.runtime.errors import InputError

SIGNED_SECONDS = 3600


def signed(address: str) -> str:
    """Return a web address of an object that is valid for an hour.

    The address is a secret: neither store nor log it. Raise InputError for a malformed address,
    missing keys or a missing boto3.
    """
    try:
        import boto3  # only runs that use S3 need it
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise InputError(f"{address}: no boto3; run `make cluster` (pip install boto3)") from error
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise InputError(f"{address}: expected s3://BUCKET/KEY")
    try:
        client = boto3.Session().client("s3", config=Config(signature_version="s3v4"))
        wanted = {"Bucket": bucket, "Key": key}
        return client.generate_presigned_url("get_object", wanted, SIGNED_SECONDS)
    except (BotoCoreError, ClientError) as error:
        raise InputError(
            f"{address}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run it where "
            "a role may read the bucket"
        ) from error
