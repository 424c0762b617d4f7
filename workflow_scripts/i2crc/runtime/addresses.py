"""Web addresses whose query (`?token=...`) may be a secret: it is stored and logged nowhere."""

import hashlib
import os
import re
from typing import Any

from i2crc.runtime.errors import InputError

QUERY = re.compile(r"((?:--[\w-]+=)?https?://[^?#]*)\?(.+)", re.DOTALL | re.IGNORECASE)
PREFIX = "I2CRC_QUERY_"
HIDDEN = re.compile(r"hidden-([0-9a-f]{8})")


def hide(address: str) -> str:
    """An address whose query is replaced by a short digest of it.

    `reveal` undoes that in this process and in those that it starts: they have the query from the
    environment. The digest keeps addresses apart that differ in nothing else.
    """
    found = QUERY.fullmatch(address)
    if found is None or HIDDEN.fullmatch(found[2]):
        return address
    name = hashlib.sha256(found[2].encode(errors="surrogatepass")).hexdigest()[:8]
    os.environ[_variable(name)] = found[2]
    return f"{found[1]}?hidden-{name}"


def reveal(address: str) -> str:
    """The address that `hide` was given; InputError where its query is not known here."""
    found = QUERY.fullmatch(address)
    mark = found and HIDDEN.fullmatch(found[2])
    if not mark:
        return address
    variable = _variable(mark[1])
    if variable not in os.environ:
        raise InputError(
            f"{address}: what follows the ? was left out here, because it may be a secret; give "
            f"the whole address, or set the environment variable {variable} to what follows"
        )
    return f"{found[1]}?{os.environ[variable]}"


def without_queries(message: Any) -> str:
    """A message of others, of which nothing is left that follows a ?."""
    return re.sub(r"\?[^\s'\")]*", "", str(message))


def hidden_queries() -> list[str]:
    """The queries that were hidden here or in the process that started this one."""
    return [query for name, query in os.environ.items() if name.startswith(PREFIX)]


def _variable(name: str) -> str:
    return f"{PREFIX}{name}"
