"""A web server on the loopback that misbehaves in every way that a real one does."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from i2crc.fetch.download import BLOCK_BYTES, fetch

DATA = bytes(range(256)) * (4 * BLOCK_BYTES // 256)
DIGEST = hashlib.sha256(DATA).hexdigest()
ETAG = '"one"'

Play = Callable[[BaseHTTPRequestHandler], object]


class Server:
    """Plays `script`, one function for each request in turn; the last one repeats for ever."""

    def __init__(self) -> None:
        self.script: list[Play] = []
        self.requests: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.end = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(dict(self.headers))
                server.paths.append(self.path)
                play = server.script.pop(0) if len(server.script) > 1 else server.script[0]
                play(self)
                self.close_connection = True

            def log_message(self, *arguments) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/maps.tar"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.end.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("i2crc.fetch.download.BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr("i2crc.fetch.download.TIMEOUTS", (2, 2))
    server = Server()
    yield server
    server.close()


def answer(status: int = 200, body: bytes = b"", sent: int | None = None, **headers: str) -> Play:
    """An answer that states the length of `body` (Content_Length="": none) and sends `sent` bytes.

    `sent` is the whole body if left out.
    """
    headers = {"Content_Length": str(len(body))} | headers

    def play(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            if value:
                handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body[:sent])

    return play


def ranged(
    data: bytes = DATA, etag: str = ETAG, obey_if_range: bool = True, shift: int = 0
) -> Play:
    """An answer that obeys Range and If-Range; it begins `shift` bytes after what was asked for."""

    def play(handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        if wanted is None or (obey_if_range and handler.headers.get("If-Range") != etag):
            answer(body=data, ETag=etag)(handler)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) + shift
        if start >= len(data):
            answer(416, Content_Range=f"bytes */{len(data)}")(handler)
            return
        span = f"bytes {start}-{len(data) - 1}/{len(data)}"
        answer(206, data[start:], ETag=etag, Content_Range=span)(handler)

    return play


CUT = answer(body=DATA, sent=3 * BLOCK_BYTES, ETag=ETAG)


def get(server: Server, target: Path, sha256: str = "", **options) -> str:
    """Fetch the server's file, and return its SHA-256."""
    return fetch(server.url, target, sha256, **options)


def left_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder, without the locks."""
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


def assert_fetched(target: Path, digest: str) -> None:
    """Check that `target` holds DATA, alone in its folder."""
    assert (digest, target.read_bytes()) == (DIGEST, DATA)
    assert left_in(target.parent) == [target.name]
