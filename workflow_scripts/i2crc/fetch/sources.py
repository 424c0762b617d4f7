"""What an address names: a file of this machine, or one elsewhere."""

from pathlib import Path
from urllib.request import url2pathname

from i2crc.config.schema import refuse_password
from i2crc.runtime.errors import InputError

ELSEWHERE = "give another source"


def local_path(url: str) -> Path | None:
    """Return the path of a plain path or file:// address; None for http, https and s3.

    Raise InputError for other addresses, and for one with a user name or password.
    """
    scheme, is_address, rest = url.partition("://")
    if not is_address:
        return Path(url)
    refuse_password(url)
    if scheme.lower() in ("http", "https", "s3"):
        return None
    path = rest.removeprefix("localhost")
    if scheme.lower() == "file" and path.startswith("/"):
        return Path(url2pathname(path))
    raise InputError(f"{url}: only http(s)://, s3://, file:/// and plain paths can be fetched")
