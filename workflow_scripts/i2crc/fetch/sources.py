"""What an address names: a file of this machine, or one elsewhere."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from i2crc.config.schema import refuse_password
from i2crc.runtime.errors import InputError

ELSEWHERE = "give another source"


def local_path(url: str) -> Path | None:
    """Return the path of a plain path or file:// address; None for http, https and s3.

    Raise InputError for other addresses, and for one with a user name or password.
    """
    if "://" not in url:
        return Path(url)
    refuse_password(url)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError(f"{url}: not an address ({error}); {ELSEWHERE}") from error
    if parts.scheme in ("http", "https", "s3"):
        return None
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(url2pathname(parts.path))
    raise InputError(
        f"{url}: only http://, https://, s3://, file:/// and plain paths can be fetched"
    )
