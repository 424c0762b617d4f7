"""Fetch one file from a web address or a path: resumed, retried, checked, complete or absent."""

import http.client
import os
import re
import shutil
import ssl
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
)

from i2crc.fetch.s3 import signed
from i2crc.fetch.sources import ELSEWHERE, local_path
from i2crc.runtime.addresses import hide, reveal, without_queries
from i2crc.runtime.atomic import digest_file, read_json, write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log, take_lock

BLOCK_BYTES = 1 << 18
MAX_REDIRECTS = 10
MAX_WAIT_SECONDS = 60.0
PROGRESS_SECONDS = 10.0
# From the request to the last header. The read timeout alone restarts with every byte.
HEADER_SECONDS = 120.0
# A transfer of fewer bytes than this in this time counts as broken.
SLOW_BYTES, SLOW_SECONDS = 60_000, 60.0
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
    """Put the file at `url` (http, https, s3, file, or a plain path) at `target`.

    Return its SHA-256 (64 lower-case hexadecimal digits). A `target` that already has the wanted
    `sha256` is kept without a transfer. A broken transfer is tried again `retries` times, after
    `backoff` * 1, 2, 4, ... seconds. It resumes from `<target>.part` if the server still has the
    same file; a later call resumes it, too. `timeout` is (connect, read) in seconds.

    ~/.netrc gives user name and password, never `url`. Raise InputError for a refusal (4xx), too
    many redirects, a redirect from https to http, an HTML page, more than `max_bytes`, a digest
    other than `sha256`, or a failure of the last try. Then an older `target` stays unchanged.
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
    """Return the file with digest `sha256` in a shared folder of downloads; fetch it if missing.

    The file's name is its digest and `suffix`. One process fetches it from `url`; the others that
    need it wait. `options` are those of `fetch`.
    """
    wanted = _checked_digest(sha256)
    target = Path(folder) / f"{wanted}{suffix}"
    if target.is_file() and digest_file(target) == wanted:
        log.info("%s: already there with the right SHA-256", target)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = take_lock(target.with_name(f".{target.name}.lock"), f"fetches {target}")
    try:
        fetch(url, target, wanted, **options)
    finally:
        lock.release()
    return target


class _BrokenError(Exception):
    """A transfer that may succeed when it is tried again after at least `wait` seconds."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


class _Part:
    """The partial file beside the target, and a JSON file that tells the version it belongs to."""

    def __init__(self, url: str, target: Path):
        self.url = url
        self.file = target.with_name(f"{target.name}.part")
        self.sidecar = target.with_name(f"{target.name}.part.json")

    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def version(self) -> dict:
        """Return the served version that the partial file can be resumed from; {} if none."""
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
        """Empty the file, then record the version, so that the two never disagree."""
        self.discard()
        self.file.touch()
        write_json(self.sidecar, {"url": self.url, "validator": validator, "total": total})

    def discard(self) -> None:
        self.sidecar.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)

    def refuse(self, reason: str, remedy: str = ELSEWHERE) -> InputError:
        """Discard the partial file and return the error, which another try would not change."""
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
        raise part.refuse(f"cannot be copied ({error})", "correct that, then run again") from error


def _download(
    part: _Part,
    retries: int,
    backoff: float,
    timeout: tuple[float, float],
    max_bytes: int | None,
) -> None:
    """Transfer the file, with further tries of a broken transfer."""
    tries = retries + 1

    def report(state: RetryCallState) -> None:
        log.warning("%s: %s (try %d of %d)", part.url, broken(state), state.attempt_number, tries)

    def wait(state: RetryCallState) -> float:
        return min(max(wait_exponential(backoff)(state), broken(state).wait), MAX_WAIT_SECONDS)

    def broken(state: RetryCallState) -> _BrokenError:
        error = state.outcome and state.outcome.exception()
        assert isinstance(error, _BrokenError)
        return error

    retrying = Retrying(
        stop=stop_after_attempt(tries),
        wait=wait,
        retry=retry_if_exception_type(_BrokenError),
        after=report,
        reraise=True,
    )
    try:
        with _Session() as session:
            retrying(_transfer, session, part, timeout, max_bytes)
    except _BrokenError as error:
        begun = f"to go on from {part.file}" if part.size() else "later"
        raise InputError(
            f"{part.url}: not fetched in {tries} tries ({error}); run again {begun}, or {ELSEWHERE}"
        ) from error


def _transfer(
    session: requests.Session, part: _Part, timeout: tuple[float, float], max_bytes: int | None
) -> None:
    """Ask once for the missing bytes and append them to the partial file."""
    version = part.version()
    # With another encoding, lengths and ranges would not count bytes of the file.
    headers = {"Accept-Encoding": "identity"}
    if version:
        headers |= {"Range": f"bytes={part.size()}-", "If-Range": version["validator"]}
    try:
        # Sign each try anew, because a long transfer outlives a signature.
        address = signed(part.url) if part.url.startswith("s3://") else reveal(part.url)
        with _ask(session, address, headers, timeout) as response:
            if not version or response.status_code not in (206, 416):
                _check_answer(response, part)
                version = _served_version(response)
                part.start(**version)
            elif not _continues(response, version, part.size()):
                log.warning("%s: the file there has changed; starting again from zero", part.url)
                part.discard()
                return _transfer(session, part, timeout, max_bytes)
            _receive(response, part, version["total"], max_bytes)
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise _BrokenError(without_queries(_plain(error))) from error
    # requests raises a bare ValueError for a malformed address in a redirect.
    except (requests.RequestException, ValueError) as error:
        raise InputError(f"{part.url}: {without_queries(error)}; {ELSEWHERE}") from error


def _plain(error: BaseException) -> str:
    """Return the innermost cause of a library's error, in words."""
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


class _Session(requests.Session):
    """A session that follows no redirects: requests would read the whole body of each one."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _ask(
    session: requests.Session, url: str, headers: dict[str, str], timeout: tuple[float, float]
) -> requests.Response:
    """Return the answer at the end of the redirects; its body is not read yet."""
    for _ in range(MAX_REDIRECTS + 1):
        response = _get(session, url, headers, timeout)
        if not response.is_redirect:
            return response
        response.close()
        url = redirected(url, response.headers["Location"])
    raise requests.TooManyRedirects(f"more than {MAX_REDIRECTS} redirects")


def _get(
    session: requests.Session, url: str, headers: dict[str, str], timeout: tuple[float, float]
) -> requests.Response:
    """Return the answer to one request; raise _BrokenError if its headers take too long.

    The request runs in a thread, which is abandoned if a server sends headers without end.
    """
    answer: Future[requests.Response] = Future()

    def ask() -> None:
        try:
            answer.set_result(session.get(url, headers=headers, stream=True, timeout=timeout))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(HEADER_SECONDS)
    except TimeoutError:
        raise _BrokenError(f"no complete answer in {HEADER_SECONDS:g} s") from None


def redirected(url: str, location: str) -> str:
    """Return the address that a redirect leads to.

    Raise requests.RequestException if it is not http or https, or leaves https.
    """
    target = requests.utils.requote_uri(urljoin(url, location))
    safe = ("https",) if urlsplit(url).scheme == "https" else ("http", "https")
    if urlsplit(target).scheme not in safe:
        start = target.partition("?")[0][:200]  # the query may be a secret
        raise requests.RequestException(f"redirects to {start}, which is not {' or '.join(safe)}")
    return target


def _check_answer(response: requests.Response, part: _Part) -> None:
    """Raise an error unless the answer is a complete file (200 with data)."""
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
    """Return what identifies this version of the file: `validator` and `total` bytes, or None."""
    length = response.headers.get("Content-Length", "")
    return {"validator": _validator(response), "total": int(length) if length.isdecimal() else None}


def _validator(response: requests.Response) -> str | None:
    """Return a value for If-Range, which allows strong ETags and dates but no weak ETags."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _continues(response: requests.Response, version: dict, offset: int) -> bool:
    """Return whether the answer is the rest of `version` from byte `offset` on.

    If-Range asks for that, but some servers and caches ignore it.
    """
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status_code != 206 or span is None or int(span[1]) != offset:
        return False
    same_total = span[2] == "*" or version["total"] in (None, int(span[2]))
    return same_total and _validator(response) in (None, version["validator"])


def _receive(
    response: requests.Response, part: _Part, total: int | None, max_bytes: int | None
) -> None:
    """Append the body of the answer to the partial file, within all limits."""
    done = first = part.size()
    started = reported = watched = time.monotonic()
    before = done
    allowed = float("inf") if max_bytes is None else max_bytes
    if (total or 0) > allowed:
        raise part.refuse(f"{total} bytes, more than the {max_bytes} allowed")
    with open(part.file, "ab") as file:
        # read1 returns what has arrived; read would wait for a full block.
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
    """Log the progress of a transfer; `speed` is in bytes per second."""
    rest = "" if total is None else f" of {total}, {(total - done) / max(speed, 1):.0f} s to go"
    log.info("%s: %d bytes%s, %.2f MB/s", url, done, rest, speed / 1e6)


def _verified_digest(part: _Part, wanted: str | None) -> str:
    """Return the SHA-256 of the partial file; refuse HTML and a digest other than `wanted`."""
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
