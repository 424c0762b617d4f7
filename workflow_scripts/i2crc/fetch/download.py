"""Fetch one file from a web address or a path: resumed, retried, checked, complete or absent."""

import http.client
import logging
import multiprocessing.pool
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urljoin

import requests
import tenacity
from urllib3.exceptions import HTTPError

from i2crc.fetch.s3 import signed
from i2crc.fetch.sources import ELSEWHERE, local_path
from i2crc.runtime.addresses import hide, reveal, without_queries
from i2crc.runtime.atomic import digest_file, read_json, write_json
from i2crc.runtime.errors import InputError, no_such
from i2crc.runtime.log import log, take_lock

BLOCK_BYTES = 1 << 18
BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 1.0, 60.0
# To connect, and between two bytes.
TIMEOUTS = (15.0, 60.0)
# From the request to the last header, redirects included.
HEADER_SECONDS = 120.0
HTML = "a page of HTML instead of data (a log-in or download page?)"
BROKEN = (requests.ConnectionError, requests.Timeout, HTTPError, multiprocessing.TimeoutError)
# Progress is logged once in this time. A transfer of fewer bytes than this in it is broken.
PROGRESS_SECONDS, SLOW_BYTES = 30.0, 30_000


def fetch(
    url: str, target: Path, sha256: str = "", *, retries: int = 5, max_bytes: float = float("inf")
) -> str:
    """Put the file at `url` (http, https, s3, file, or a plain path) at `target`.

    Return its SHA-256 (64 lower-case hexadecimal digits). A `target` that already has the wanted
    `sha256` is kept without a transfer. Of several processes, one transfers; the others wait. A
    broken transfer is tried again `retries` times, after 1, 2, 4, ... seconds. It resumes from
    `<target>.part` if the server still has the same file; a later call resumes it, too.

    ~/.netrc gives user name and password, never `url`. Raise InputError for a refusal (4xx), too
    many redirects, a redirect from https to http, an HTML page, more than `max_bytes` from the web,
    another digest than `sha256`, or a failure of the last try. An older `target` then stays.
    """
    url, wanted = hide(url), sha256.lower()

    def is_there() -> bool:
        return bool(wanted) and target.is_file() and digest_file(target) == wanted

    if is_there():
        return wanted
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = take_lock(target.with_name(f".{target.name}.lock"), f"fetches {target}")
    try:
        if is_there():
            return wanted
        transfer = _Transfer(url, target.with_name(f"{target.name}.part"), max_bytes)
        path = local_path(url)
        if path is None:
            transfer.run(retries)
        elif path.is_file():
            try:
                shutil.copyfile(path, transfer.part)
            except OSError:
                transfer.part.unlink(missing_ok=True)
                raise
        else:
            raise InputError(f"{url}: {no_such('file', path)}; {ELSEWHERE}")
        digest = transfer.checked_digest(wanted)
        transfer.record.unlink(missing_ok=True)
        os.replace(transfer.part, target)
    finally:
        lock.release()
    log.info("%s: %d bytes, SHA-256 %s", target, target.stat().st_size, digest)
    return digest


def refuse_insecure(response: requests.Response, **_: object) -> None:
    """Raise requests.RequestException if an answer redirects from https to anything else."""
    if response.is_redirect:
        # requests would read the body of a redirect, however long it is.
        response.close()
        location = urljoin(response.url, response.headers["Location"])
        if response.url.startswith("https://") and not location.startswith("https://"):
            raise requests.RequestException(f"redirects to {location}, which is not https")


class _BrokenTransferError(Exception):
    """A transfer that may succeed when it is tried again, in `pause` seconds at the earliest."""

    def __init__(self, reason: str, pause: str = "0") -> None:
        super().__init__(reason)
        # Some servers give a date instead.
        self.pause = min(float(pause), MAX_BACKOFF_SECONDS) if pause.isdecimal() else 0.0


class _Transfer:
    """A transfer to a partial file. A JSON file beside it records the address and the version."""

    def __init__(self, url: str, part: Path, max_bytes: float) -> None:
        self.url, self.part, self.max_bytes = url, part, max_bytes
        self.record = part.with_name(f"{part.name}.json")

    def run(self, retries: int) -> None:
        """Transfer the file, with further tries of a broken transfer."""
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(retries + 1),
            wait=tenacity.wait_exponential(BACKOFF_SECONDS, MAX_BACKOFF_SECONDS)
            + tenacity.wait_exception(lambda error: getattr(error, "pause", 0)),
            retry=tenacity.retry_if_exception_type(_BrokenTransferError),
            before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
            reraise=True,
        )
        try:
            retrying(self.attempt)
        except _BrokenTransferError as error:
            tries = f"not fetched in {retries + 1} tries ({error})"
            raise InputError(f"{self.url}: {tries}; run again to go on, or {ELSEWHERE}") from error

    def attempt(self) -> None:
        """Ask once for the missing bytes, and append them to the partial file."""
        # With another encoding, ranges would not count bytes of the file.
        headers = {"Accept-Encoding": "identity"}
        version = self.version()
        if version:
            headers |= {"Range": f"bytes={self.part.stat().st_size}-", "If-Range": version}
        # Sign each try anew, because a long transfer outlives a signature.
        address = signed(self.url) if self.url.startswith("s3://") else reveal(self.url)
        options = {"stream": True, "timeout": TIMEOUTS, "hooks": {"response": refuse_insecure}}
        try:
            # In a thread: the time-out between two bytes alone would let headers trickle for ever.
            with multiprocessing.pool.ThreadPool(1) as pool:
                asked = pool.apply_async(requests.get, [address], {**options, "headers": headers})
                response = asked.get(HEADER_SECONDS)
            with response:
                self.begin(response, version)
                self.receive(response)
        except BROKEN as error:
            raise _BrokenTransferError(_cause(error)) from error
        # requests raises a bare ValueError for a malformed address in a redirect.
        except (requests.RequestException, ValueError) as error:
            raise InputError(f"{self.url}: {without_queries(error)}; {ELSEWHERE}") from error

    def begin(self, response: requests.Response, version: str | None) -> None:
        """Prepare the partial file for the rest of `version`, or else for a complete file."""
        status = response.status_code
        if version and status in (206, 416):
            rest = rf"bytes {self.part.stat().st_size}-(\d+)/(\d+)"
            span = re.fullmatch(rest, response.headers.get("Content-Range", ""))
            is_rest = span is not None and int(span[1]) + 1 == int(span[2])
            # Some servers ignore If-Range.
            if not is_rest or _version(response) not in (None, version):
                self.record.unlink()
                raise _BrokenTransferError("the file there has changed; starting again from zero")
        elif status in (408, 429) or status >= 500:
            pause = response.headers.get("Retry-After", "0")
            raise _BrokenTransferError(f"status {status} {response.reason}", pause)
        elif response.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise self.refused(HTML)
        elif status != 200:
            raise InputError(f"{self.url}: status {status} {response.reason}; {ELSEWHERE}")
        else:
            self.part.write_bytes(b"")
            write_json(self.record, {"url": self.url, "version": _version(response)})

    def receive(self, response: requests.Response) -> None:
        """Append the body of the answer to the partial file, within all limits."""
        done = before = self.part.stat().st_size
        total = done + (response.raw.length_remaining or 0)
        since = time.monotonic()
        with open(self.part, "ab") as file:
            # read1 returns what has arrived. It raises an error if the body ends early.
            while block := response.raw.read1(BLOCK_BYTES, decode_content=False):
                done += len(block)
                if max(done, total) > self.max_bytes:
                    raise self.refused(f"more than the {self.max_bytes} bytes allowed")
                file.write(block)
                seconds = time.monotonic() - since
                if seconds >= PROGRESS_SECONDS:
                    if done - before < SLOW_BYTES:
                        raise _BrokenTransferError(f"only {done - before} bytes in {seconds:.0f} s")
                    log.info("%s: %d of %s bytes", self.url, done, total or "?")
                    before, since = done, time.monotonic()

    def checked_digest(self, wanted: str) -> str:
        """Return the SHA-256 of the received file; refuse HTML and another digest than `wanted`."""
        with open(self.part, "rb") as file:
            start = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        if start.startswith((b"<!doctype html", b"<html")):
            raise self.refused(HTML)
        digest = digest_file(self.part)
        if wanted and digest != wanted:
            raise self.refused(f"SHA-256 is {digest}, expected {wanted}; run again or correct it")
        return digest

    def version(self) -> str | None:
        """Return the version that the partial file can be resumed from; None if there is none."""
        with suppress(InputError):  # missing, or damaged
            match read_json(self.record):
                case {"url": self.url, "version": str(version)} if self.part.exists():
                    return version
        return None

    def refused(self, reason: str) -> InputError:
        """Discard the partial file, and return the error, which another try would not change."""
        self.record.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)
        return InputError(f"{self.url}: {reason}; {ELSEWHERE}")


def _version(response: requests.Response) -> str | None:
    """Return a value for If-Range, which allows strong ETags and dates but no weak ETags."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _cause(error: BaseException) -> str:
    """Return the innermost cause of a library's error, without secrets."""
    while error.__context__ and not isinstance(error, http.client.HTTPException):
        error = error.__context__
    return without_queries(repr(error))
