"""Fetch one file from a web address or a path: resumed, retried, checked, and whole or absent."""

import http.client
import logging
import os
import re
import shutil
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

import requests
import urllib3

from i2crc.config.schema import refuse_password
from i2crc.fetch.s3 import signed
from i2crc.runtime.addresses import hide, reveal, without_queries
from i2crc.runtime.atomic import digest_file, read_json, write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.locks import Lock

log = logging.getLogger("i2crc")

BLOCK_BYTES = 1 << 18
MAX_REDIRECTS = 10
MAX_WAIT_SECONDS = 60.0
PROGRESS_SECONDS = 10.0
# From the request to the last header; on the way to that a byte may come now and then.
HEADER_SECONDS = 120.0
# A transfer that brings less than so many bytes in so many seconds has broken down.
SLOW_BYTES, SLOW_SECONDS = 60_000, 60.0
ELSEWHERE = "give another source"
HTML = "a page of HTML instead of data (a log-in or download page?)"


def fetch(
    url: str,
    target: Path,
    sha256: str | None = None,
    *,
    retries: int = 5,
    backoff: float = 1.0,
    timeout: tuple[float, float] = (15.0, 60.0),
    max_bytes: int | None = None,
) -> str:
    """Put the file at `url` (http, https, s3, file, or a plain path) at `target`; its SHA-256.

    A `target` that has the wanted `sha256` already is kept without a transfer. A broken transfer
    is tried again `retries` times after `backoff` * 1, 2, 4, ... seconds and goes on from
    `<target>.part` where the server still has the same file; so does a later call. `timeout` is
    (connect, read) in seconds; so slow a transfer that it will never end counts as broken. A user
    name and password are read from ~/.netrc, never from `url`. A refusal (4xx), too many redirects
    or one that leaves https, a page of HTML, more than `max_bytes`, another digest than `sha256`
    (64 hexadecimal digits) or a lasting failure is an InputError, and `target` is left as it was.
    """
    wanted, url = _checked_digest(sha256), hide(url)
    target = Path(target)
    if wanted is not None and target.is_file() and digest_file(target) == wanted:
        log.info("%s: already there with the right SHA-256", target)
        return wanted
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(url, target)
    path = local_path(url)
    if path is None:
        _download(part, retries, backoff, timeout, max_bytes)
    else:
        _copy(path, part, max_bytes)
    digest = _verified_digest(part, wanted)
    os.replace(part.file, target)
    part.discard()
    log.info("%s: %d bytes, SHA-256 %s", target, target.stat().st_size, digest)
    return digest


def fetch_once(url: str, folder: Path, sha256: str, suffix: str = "", **options: Any) -> Path:
    """The file of that SHA-256 in a folder of downloads that is shared with others.

    Its name is its digest. Where it is not there, one process fetches it from `url`, and others
    that want it wait; `options` are those of `fetch`.
    """
    wanted = _checked_digest(sha256)
    target = Path(folder) / f"{wanted}{suffix}"
    if target.is_file() and digest_file(target) == wanted:
        log.info("%s: already there with the right SHA-256", target)
        return target
    lock = Lock(target.with_name(f".{target.name}.lock"))
    if not lock.take():
        log.info("waiting for %s, which fetches %s", lock.holder(), target)
        lock.wait()
    try:
        fetch(url, target, wanted, **options)
    finally:
        lock.release()
    return target


def local_path(url: str) -> Path | None:
    """The path that a plain path or file:// address names; None for one of the web or of S3."""
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


class _BrokenError(Exception):
    """A transfer that may succeed when it is tried again, after `wait` seconds at the least."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


class _Part:
    """The partial file beside the target, with a sidecar that says of which version it is."""

    def __init__(self, url: str, target: Path):
        self.url = url
        self.file = target.with_name(f"{target.name}.part")
        self.sidecar = target.with_name(f"{target.name}.part.json")

    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def version(self) -> dict:
        """The served version that a partial file can be continued from; empty if there is none."""
        if self.size() == 0 or not self.sidecar.exists():
            return {}
        try:
            version = read_json(self.sidecar)
        except InputError:
            return {}
        match version:
            case {"url": self.url, "validator": str(), "total": int() | None}:
                return version
        return {}

    def start(self, validator: str | None, total: int | None) -> None:
        """Empty the file, then note the version: never a note beside bytes of another version."""
        self.discard()
        self.file.touch()
        write_json(self.sidecar, {"url": self.url, "validator": validator, "total": total})

    def discard(self) -> None:
        self.sidecar.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)

    def refuse(self, reason: str, remedy: str = ELSEWHERE) -> InputError:
        """The error for content that no further transfer would mend; nothing of it is kept."""
        self.discard()
        return InputError(f"{self.url}: {reason}; {remedy}")


def _checked_digest(sha256: str | None) -> str | None:
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise InputError(f"SHA-256 {sha256!r}: not 64 hexadecimal digits; correct it")
    return sha256 and sha256.lower()


def _copy(path: Path, part: _Part, max_bytes: int | None) -> None:
    part.discard()
    if not path.is_file():
        raise InputError(f"{part.url}: no such file; {ELSEWHERE}")
    if max_bytes is not None and path.stat().st_size > max_bytes:
        raise part.refuse(f"{path.stat().st_size} bytes, more than the {max_bytes} allowed")
    try:
        shutil.copyfile(path, part.file)
    except OSError as error:
        raise part.refuse(f"cannot be copied ({error})", "mend that and run again") from error


def _download(
    part: _Part,
    retries: int,
    backoff: float,
    timeout: tuple[float, float],
    max_bytes: int | None,
) -> None:
    with _Session() as session:
        for failures in range(retries + 1):
            try:
                return _transfer(session, part, timeout, max_bytes)
            except _BrokenError as error:
                log.warning("%s: %s (try %d of %d)", part.url, error, failures + 1, retries + 1)
                if failures == retries:
                    begun = f"to go on from {part.file}" if part.size() else "later"
                    raise InputError(
                        f"{part.url}: not fetched in {retries + 1} tries ({error}); "
                        f"run again {begun}, or {ELSEWHERE}"
                    ) from error
                time.sleep(min(max(backoff * 2**failures, error.wait), MAX_WAIT_SECONDS))


def _transfer(
    session: requests.Session, part: _Part, timeout: tuple[float, float], max_bytes: int | None
) -> None:
    """One try: ask for what is missing and append it to the partial file."""
    version = part.version()
    # Any other encoding would make lengths and ranges count other bytes than the file's.
    headers = {"Accept-Encoding": "identity"}
    if version:
        headers |= {"Range": f"bytes={part.size()}-", "If-Range": version["validator"]}
    try:
        # Signed for each try: a long transfer outlives a signature.
        address = signed(part.url) if part.url.startswith("s3://") else reveal(part.url)
        with _ask(session, address, headers, timeout) as response:
            if not version or response.status_code not in (206, 416):
                _check_answer(response, part)
                version = _served_version(response)
                part.start(**version)
            elif not _continues(response, version, part.size()):
                log.warning("%s: the file there has changed; starting afresh", part.url)
                part.discard()
                return _transfer(session, part, timeout, max_bytes)
            _receive(response, part, version["total"], max_bytes)
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise _BrokenError(without_queries(_plain(error))) from error
    # A malformed address in a redirect comes out of requests as a bare ValueError.
    except (requests.RequestException, ValueError) as error:
        raise InputError(f"{part.url}: {without_queries(error)}; {ELSEWHERE}") from error


def _plain(error: BaseException) -> str:
    """What went wrong, without the layers of libraries that it came through."""
    while inner := next(
        (e for e in (getattr(error, "reason", None), *error.args) if isinstance(e, Exception)), None
    ):
        error = inner
    if isinstance(error, http.client.IncompleteRead | urllib3.exceptions.IncompleteRead):
        return "the transfer was cut short"
    if isinstance(error, ssl.SSLError):
        return f"no secure connection ({error})"
    if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
        return f"not the answer of a web server ({error!r})"
    return re.sub(r"^_\w+\(.*?\): ", "", str(error))


class _Limited:
    """A connection on which the time until the body begins is limited as a whole.

    The read timeout counts from byte to byte, so headers that trickle in would go on for ever.
    """

    def getresponse(self) -> urllib3.HTTPResponse:
        late = threading.Event()

        def stop() -> None:
            late.set()
            with suppress(OSError):
                # Not SSLSocket's own, which would take the layer away from the reading thread.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

        timer = threading.Timer(HEADER_SECONDS, stop)
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()
        finally:
            timer.cancel()
            if late.is_set():
                # Headers that were cut short would pass for whole ones.
                raise urllib3.exceptions.ProtocolError(
                    f"no complete answer in {HEADER_SECONDS:g} s"
                )


class _Http(_Limited, urllib3.connection.HTTPConnection):
    pass


class _Https(_Limited, urllib3.connection.HTTPSConnection):
    pass


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


POOLS = {"http": _HttpPool, "https": _HttpsPool}


class _Adapter(requests.adapters.HTTPAdapter):
    """Connects, with or without a proxy, by limited connections."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> urllib3.ProxyManager:
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = POOLS
        return manager


class _Session(requests.Session):
    """A session that follows no redirect: it would unpack the body of each one into memory."""

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _ask(
    session: requests.Session, url: str, headers: dict[str, str], timeout: tuple[float, float]
) -> requests.Response:
    """The answer at the end of the redirects, its body not read yet."""
    for _ in range(MAX_REDIRECTS + 1):
        response = session.get(url, headers=headers, stream=True, timeout=timeout)
        if not response.is_redirect:
            return response
        response.close()
        url = redirected(url, response.headers["Location"])
    raise requests.TooManyRedirects(f"more than {MAX_REDIRECTS} redirects")


def redirected(url: str, location: str) -> str:
    """The address that a redirect leads to; RequestException for none that may be followed."""
    target = requests.utils.requote_uri(urljoin(url, location))
    safe = ("https",) if urlsplit(url).scheme == "https" else ("http", "https")
    if urlsplit(target).scheme not in safe:
        start = target.partition("?")[0][:200]  # what follows may be a secret
        raise requests.RequestException(f"redirects to {start}, which is not {' or '.join(safe)}")
    return target


def _check_answer(response: requests.Response, part: _Part) -> None:
    """Let pass only a whole file's answer (200 with data)."""
    status = response.status_code
    if status in (408, 429) or status >= 500:
        wait = response.headers.get("Retry-After", "")
        raise _BrokenError(
            f"status {status} {response.reason}", float(wait) if wait.isdecimal() else 0
        )
    if status != 200:
        raise InputError(f"{part.url}: status {status} {response.reason}; {ELSEWHERE}")
    if response.headers.get("Content-Type", "").strip().lower().startswith("text/html"):
        raise InputError(f"{part.url}: {HTML}; {ELSEWHERE}")


def _served_version(response: requests.Response) -> dict:
    """What tells one version of the file from another: `validator` and `total` bytes, or None."""
    length = response.headers.get("Content-Length", "")
    return {"validator": _validator(response), "total": int(length) if length.isdecimal() else None}


def _validator(response: requests.Response) -> str | None:
    """A value for If-Range, which allows strong ETags and dates but no weak ETags."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _continues(response: requests.Response, version: dict, offset: int) -> bool:
    """Whether the answer is the rest of `version` from `offset` on.

    If-Range should see to this, but servers and caches in between are known to ignore it.
    """
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status_code != 206 or span is None or int(span[1]) != offset:
        return False
    same_total = span[2] == "*" or version["total"] in (None, int(span[2]))
    return same_total and _validator(response) in (None, version["validator"])


def _receive(
    response: requests.Response, part: _Part, total: int | None, max_bytes: int | None
) -> None:
    done = first = part.size()
    started = reported = watched = time.monotonic()
    before = done
    allowed = float("inf") if max_bytes is None else max_bytes
    if (total or 0) > allowed:
        raise part.refuse(f"{total} bytes, more than the {max_bytes} allowed")
    with open(part.file, "ab") as file:
        # read1 gives what is there; others would wait for a whole block however slowly it comes.
        while block := response.raw.read1(BLOCK_BYTES, decode_content=False):
            done += len(block)
            if done > allowed:
                raise part.refuse(f"more than the {max_bytes} bytes allowed")
            file.write(block)
            now = time.monotonic()
            if now - watched >= SLOW_SECONDS:
                if done - before < SLOW_BYTES:
                    raise _BrokenError(f"only {done - before} bytes in {now - watched:.0f} s")
                watched, before = now, done
            if now - reported >= PROGRESS_SECONDS:
                _log_progress(part.url, done, total, (done - first) / (now - started))
                reported = now
    if total is not None and done != total:
        raise _BrokenError(f"the body ended after {done} of {total} bytes")


def _log_progress(url: str, done: int, total: int | None, speed: float) -> None:
    """Log the state of a transfer at `speed` bytes a second."""
    rest = "" if total is None else f" of {total}, {(total - done) / max(speed, 1):.0f} s to go"
    log.info("%s: %d bytes%s, %.2f MB/s", url, done, rest, speed / 1e6)


def _verified_digest(part: _Part, wanted: str | None) -> str:
    """The partial file's SHA-256; HTML or another digest than `wanted` removes it."""
    with open(part.file, "rb") as file:
        start = file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise part.refuse(HTML)
    digest = digest_file(part.file)
    if wanted is not None and digest != wanted:
        raise part.refuse(
            f"SHA-256 is {digest}, expected {wanted}",
            "run again if the transfer was damaged, else correct the digest or " + ELSEWHERE,
        )
    return digest
