"""Keep the query of web addresses (`?token=...`) out of files and logs: it may be a secret."""

import hashlib
import os
import re

from i2crc.runtime.errors import InputError

HIDDEN = re.compile(r"(?i)(https?://[^?#]*\?)hidden-([0-9a-f]{8})")
# The option of a command line may stand before the address.
QUERY = re.compile(r"(?is)((?:--[\w-]+=)?https?://[^?#]*\?)(?!hidden-[0-9a-f]{8}\Z)(.+)")
PREFIX = "I2CRC_QUERY_"


def hide(address: str) -> str:
    """Return an address with a short digest in place of its query.

    The query is kept in the environment, so `reveal` finds it in this process and its children.
    Addresses that differ only in their queries stay different.
    """
    found = QUERY.fullmatch(address)
    if found is None:
        return address
    name = hashlib.sha256(found[2].encode(errors="surrogatepass")).hexdigest()[:8]
    os.environ[PREFIX + name] = found[2]
    return f"{found[1]}hidden-{name}"


def reveal(address: str) -> str:
    """Return the address that `hide` was given; raise InputError if its query is not known here."""
    found = HIDDEN.fullmatch(address)
    if found is None:
        return address
    variable = PREFIX + found[2]
    if variable not in os.environ:
        raise InputError(
            f"{address}: the part after the ? was left out here, because it may be a secret; give "
            f"the whole address, or set the environment variable {variable} to that part"
        )
    return found[1] + os.environ[variable]


def without_queries(message: object) -> str:
    """Return a message, such as a library's, without the queries of the addresses in it."""
    return re.sub(r"\?[^\s'\")]*", "", str(message))


def hidden_queries() -> list[str]:
    """Return the queries that were hidden in this process or in those that started it."""
    return [query for name, query in os.environ.items() if name.startswith(PREFIX)]
