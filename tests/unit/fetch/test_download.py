"""Fetching files: a loopback server that misbehaves in every way that a real one does."""

import gzip
import io
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from helpers.server import (
    CUT,
    DATA,
    DIGEST,
    ETAG,
    Server,
    answer,
    assert_fetched,
    get,
    left_in,
    ranged,
)
from i2crc.fetch.download import BLOCK_BYTES, fetch, refuse_insecure
from i2crc.fetch.sources import local_path
from i2crc.runtime.addresses import hide, reveal
from i2crc.runtime.errors import InputError


def test_plain_transfer(server, target):
    server.script = [answer(body=DATA)]
    assert_fetched(target, get(server, target))
    assert server.requests[0]["Accept-Encoding"] == "identity"


def test_body_of_unknown_length(server, target):
    server.script = [answer(body=DATA, Content_Length="")]
    assert_fetched(target, get(server, target))


def test_stored_compression_is_left_as_it_is(server, target):
    server.script = [answer(body=DATA, Content_Encoding="gzip")]
    assert_fetched(target, get(server, target))


def test_resumes_after_a_cut(server, target):
    server.script = [CUT, ranged()]
    assert_fetched(target, get(server, target, DIGEST))
    assert server.requests[1]["If-Range"] == ETAG
    assert 0 < int(server.requests[1]["Range"].strip("bytes=-")) <= 3 * BLOCK_BYTES


def test_resumes_in_a_later_call(server, target):
    server.script = [CUT]
    with pytest.raises(InputError, match=r"not fetched in 1 tries .* run again"):
        get(server, target, retries=0)
    assert not target.exists()
    server.script = [ranged()]
    assert_fetched(target, get(server, target))
    assert "Range" in server.requests[1]


def test_resumes_by_date_when_the_etag_is_weak(server, target):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    server.script = [
        answer(body=DATA, sent=3 * BLOCK_BYTES, ETag='W/"x"', Last_Modified=date),
        answer(body=DATA),
    ]
    assert_fetched(target, get(server, target))
    assert server.requests[1]["If-Range"] == date


def test_nothing_to_recognise_the_file_by_means_afresh(server, target):
    server.script = [answer(body=DATA, sent=3 * BLOCK_BYTES), answer(body=DATA)]
    assert_fetched(target, get(server, target))
    assert "Range" not in server.requests[1]


def test_another_address_does_not_continue_the_partial_file(server, target):
    server.script = [CUT, answer(body=DATA)]
    with pytest.raises(InputError):
        get(server, target, retries=0)
    fetch(server.url + "?other", target)
    assert "Range" not in server.requests[1]


def test_server_without_range(server, target):
    server.script = [CUT, answer(body=DATA, ETag=ETAG)]
    assert_fetched(target, get(server, target))


@pytest.mark.parametrize(
    "second",
    [
        ranged(etag='"two"'),
        ranged(DATA[::-1], etag='"two"', obey_if_range=False),
        ranged(shift=1),
        ranged(b"", etag=ETAG),
        answer(206, DATA[BLOCK_BYTES:], ETag=ETAG),
    ],
    ids=["if-range", "if-range ignored", "other range", "416", "no range stated"],
)
def test_changed_file_is_never_spliced(server, target, second):
    server.script = [CUT, second, answer(body=DATA, ETag='"two"')]
    assert_fetched(target, get(server, target))
    assert len(server.requests) in (2, 3)


def test_complete_partial_file_starts_afresh_on_416(server, target):
    server.script = [CUT]
    with pytest.raises(InputError):
        get(server, target, retries=0)
    target.with_name("maps.tar.part").write_bytes(DATA)
    server.script = [ranged()]
    assert_fetched(target, get(server, target, retries=1))


@pytest.mark.parametrize("status", [401, 403, 404, 410, 416])
def test_refusal_fails_at_once(server, target, status):
    server.script = [answer(status, b"no")]
    with pytest.raises(InputError, match=rf"maps\.tar: status {status} .*; give another source"):
        get(server, target)
    assert len(server.requests) == 1
    assert not target.exists()


def test_waits_grow(server, target, monkeypatch):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setattr("i2crc.fetch.download.BACKOFF_SECONDS", 1.0)
    server.script = [answer(500)]
    with pytest.raises(InputError, match=r"not fetched in 9 tries .*status 500"):
        get(server, target, retries=8)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(
    ("asked", "wait"), [("7", 8), ("9999", 61), ("Fri, 27 Nov 2026 10:00:00 GMT", 1), ("-3", 1)]
)
def test_the_wait_that_a_server_asks_for(server, target, monkeypatch, asked, wait):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setattr("i2crc.fetch.download.BACKOFF_SECONDS", 1.0)
    server.script = [answer(429, **{"Retry-After": asked}), answer(body=DATA)]
    assert_fetched(target, get(server, target))
    assert waits == [wait]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_trouble_is_tried_again(server, target, status):
    server.script = [answer(status), answer(status), answer(body=DATA)]
    assert_fetched(target, get(server, target))


def test_redirect(server, target):
    server.script = [answer(302, Location="/elsewhere"), answer(body=DATA)]
    assert_fetched(target, get(server, target))


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/maps.tar", "Exceeded 30 redirects"),
        ("file:///etc/hostname", "'file:///etc/hostname'"),
        ("ftp://host/x?secret", "'ftp://host/x'"),
        ("http://[", ""),
    ],
)
def test_bad_redirect(server, target, location, reason):
    server.script = [answer(302, Location=location)]
    with pytest.raises(InputError, match=rf"maps\.tar: .*{reason}.*give another source"):
        get(server, target)
    assert len(server.requests) < 40
    assert not target.exists()


def test_redirect_to_another_server(server, target):
    other = Server()
    other.script = [answer(body=DATA)]
    server.script = [answer(302, Location=other.url)]
    assert_fetched(target, get(server, target))
    other.close()


def test_redirect_never_leaves_encryption():
    response = requests.Response()
    response.status_code, response.raw = 302, io.BytesIO()
    steps = [("https://a/x", "../y"), ("https://a/x", "//b/y"), ("http://a/x", "https://b/y")]
    for response.url, response.headers["Location"] in steps:
        refuse_insecure(response)
    response.url = "https://a/x"
    for response.headers["Location"] in ("http://a/x", "ftp://a/x"):
        with pytest.raises(requests.RequestException, match="which is not https"):
            refuse_insecure(response)


def test_redirect_whose_body_never_ends(server, target):
    """requests itself would read it whole, and unpack it, before it goes on."""
    sent = []

    def endless(handler):
        block = gzip.compress(bytes(1 << 24))
        answer(302, Location="/x", Content_Length="", Content_Encoding="gzip")(handler)
        with suppress(OSError):
            while not server.end.is_set():
                handler.wfile.write(block)
                sent.append(len(block))

    server.script = [endless, answer(body=DATA)]
    assert_fetched(target, get(server, target))
    assert len(sent) < 1000


def test_trickling_body(server, target, monkeypatch):
    """A byte now and then keeps every time limit of a connection, and never ends."""
    monkeypatch.setattr("i2crc.fetch.download.PROGRESS_SECONDS", 0.2)

    def trickle(handler):
        answer(body=DATA, sent=1000, ETag=ETAG)(handler)
        with suppress(OSError):
            while not server.end.wait(0.02):
                handler.wfile.write(b"x")

    server.script = [trickle]
    with pytest.raises(InputError, match=r"not fetched in 2 tries \(only \d+ bytes in 0 s\)"):
        get(server, target, retries=1)
    assert not target.exists()
    server.script = [trickle, answer(body=DATA)]
    assert_fetched(target, get(server, target))


@pytest.mark.parametrize("headers", [b"X: " + b"x" * 100_000, b"\r\n".join([b"X: y"] * 1000)])
def test_headers_without_end(server, target, headers):
    def play(handler):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n" + headers + b"\r\n\r\n")

    server.script = [play]
    with pytest.raises(InputError, match="not fetched in 2 tries"):
        get(server, target, retries=1)
    assert not target.exists()


def test_password_comes_from_netrc_alone(server, target, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    caplog.set_level("INFO", "i2crc")
    server.script = [CUT, ranged()]
    with pytest.raises(InputError) as caught:
        fetch(server.url.replace("//", "//me:s3cret@"), target)
    assert "netrc" in str(caught.value)
    assert not server.requests
    with pytest.raises(InputError):
        get(server, target, retries=0)
    left = b"".join(path.read_bytes() for path in target.parent.iterdir())
    assert_fetched(target, get(server, target))
    assert server.requests[0]["Authorization"].startswith("Basic ")
    assert not any("s3cret" in text for text in (str(caught.value), caplog.text))
    assert b"s3cret" not in left


@pytest.mark.parametrize(
    "page",
    [
        answer(body=b"<!doctype html>", Content_Type="text/html; charset=utf-8"),
        answer(body=b"\n <!DOCTYPE html><p>Log in", Content_Type="application/zip"),
        answer(body=b"\xef\xbb\xbf<HTML lang='en'>"),
    ],
)
def test_html_page(server, target, page):
    server.script = [page]
    with pytest.raises(InputError, match=r"maps\.tar: a page of HTML"):
        get(server, target)
    assert not left_in(target.parent)


def test_lasting_truncation(server, target):
    server.script = [answer(body=DATA, sent=100)]
    with pytest.raises(InputError, match="not fetched in 3 tries"):
        get(server, target, retries=2)
    assert len(server.requests) == 3


def test_chunked_body_cut_short(server, target):
    chunk = b"5\r\nhello\r\n"
    server.script = [
        answer(body=chunk, Content_Length="", Transfer_Encoding="chunked"),
        answer(body=DATA),
    ]
    # BaseHTTPRequestHandler speaks HTTP/1.0, whose readers heed the header all the same.
    assert_fetched(target, get(server, target))


def test_silent_server(server, target, monkeypatch):
    monkeypatch.setattr("i2crc.fetch.download.TIMEOUTS", (1, 0.1))
    server.script = [lambda handler: server.end.wait(5)]
    with pytest.raises(InputError, match=r"not fetched in 2 tries .*timed out"):
        get(server, target, retries=1)


def test_server_that_falls_silent_in_the_body(server, target, monkeypatch):
    monkeypatch.setattr("i2crc.fetch.download.TIMEOUTS", (1, 0.2))

    def stall(handler):
        CUT(handler)
        server.end.wait(5)

    server.script = [stall, ranged()]
    assert_fetched(target, get(server, target))
    assert "Range" in server.requests[1]


def test_no_server(target, monkeypatch):
    monkeypatch.setattr("i2crc.fetch.download.BACKOFF_SECONDS", 0.01)
    with pytest.raises(InputError, match=r"not fetched in 2 tries .*Connection refused"):
        fetch("http://127.0.0.1:9/x", target, retries=1)


def test_wrong_digest(server, target):
    server.script = [answer(body=DATA)]
    with pytest.raises(InputError, match=f"SHA-256 is {DIGEST}, expected {'0' * 64}; run again"):
        get(server, target, "0" * 64)
    assert not left_in(target.parent)


def test_wrong_digest_leaves_an_older_target(server, target):
    target.parent.mkdir()
    target.write_bytes(b"older")
    server.script = [answer(body=DATA)]
    with pytest.raises(InputError):
        get(server, target, "0" * 64)
    assert target.read_bytes() == b"older"


@pytest.mark.parametrize("length", [{}, {"Content_Length": ""}], ids=["stated", "not stated"])
def test_too_large(server, target, length):
    server.script = [answer(body=DATA, **length)]
    with pytest.raises(InputError, match=r"maps\.tar: .*more than the 1000"):
        get(server, target, max_bytes=1000)
    assert not left_in(target.parent)


def test_present_file_is_kept(server, target):
    target.parent.mkdir()
    target.write_bytes(DATA)
    assert_fetched(target, get(server, target, DIGEST.upper()))
    assert not server.requests


def test_outdated_file_is_replaced(server, target):
    target.parent.mkdir()
    target.write_bytes(b"older")
    server.script = [answer(body=DATA)]
    assert_fetched(target, get(server, target, DIGEST))


def test_progress_is_logged(server, target, monkeypatch, caplog):
    monkeypatch.setattr("i2crc.fetch.download.PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr("i2crc.fetch.download.SLOW_BYTES", 0)
    caplog.set_level("INFO", "i2crc")
    server.script = [answer(body=DATA)]
    get(server, target)
    assert f"{len(DATA)} of {len(DATA)} bytes" in caplog.text


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}"])
def test_local_file(tmp_path, target, form):
    source = tmp_path / "a file.tar"
    source.write_bytes(DATA)
    url = form.format(source)
    assert_fetched(target, fetch(url.replace(" ", "%20") if "://" in url else url, target, DIGEST))


def test_local_trouble(tmp_path, target):
    source = tmp_path / "page"
    source.write_bytes(b"<html>")
    for url, message in [
        (str(tmp_path / "none"), "none: no such file; give another source"),
        (str(tmp_path), "no such file"),
        (str(source), "a page of HTML"),
        ("ftp://host/x", "ftp://host/x: only http"),
        ("file://host/x", "file://host/x: only http"),
        ("http://[/x", "give another source"),
        ("http://", "give another source"),
    ]:
        with pytest.raises(InputError, match=message):
            fetch(url, target)
    assert not left_in(target.parent)


def test_local_path():
    assert local_path("https://host/x") is None
    assert local_path("file:///a/b%20c") == Path("/a/b c")
    assert local_path("maps") == Path("maps")


@pytest.mark.parametrize("header", [b"x", b"X: y\r\n"])
def test_headers_that_trickle(server, target, monkeypatch, header):
    """A byte now and then keeps the read timeout, and the answer never begins."""
    monkeypatch.setattr("i2crc.fetch.download.HEADER_SECONDS", 0.3)

    def trickle(handler):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
        with suppress(OSError):
            while not server.end.wait(0.02):
                handler.wfile.write(header)

    server.script = [trickle]
    with pytest.raises(InputError, match=r"not fetched in 2 tries \(TimeoutError"):
        get(server, target, retries=1)
    assert not target.exists()
    server.script = [trickle, answer(body=DATA)]
    assert_fetched(target, get(server, target))


@pytest.mark.parametrize("query", ["token=s3cret", "X-Amz-Signature=s3cret&X-Amz-Date=1"])
def test_query_is_written_nowhere(server, target, caplog, query):
    caplog.set_level("INFO", "i2crc")
    url = f"{server.url}?{query}"
    server.script = [answer(500), CUT]
    with pytest.raises(InputError) as caught:
        fetch(url, target, retries=1)
    left = b"".join(path.read_bytes() for path in target.parent.iterdir())
    server.script = [ranged()]
    assert_fetched(target, fetch(url, target))
    assert [path.endswith(f"?{query}") for path in server.paths] == [True] * 3
    assert server.requests[2]["If-Range"] == ETAG
    for script in ([answer(302, Location="ftp://h/x?s3cret")], [answer(404)]):
        server.script = script
        with pytest.raises(InputError) as other:
            fetch(url, target)
        assert "s3cret" not in str(other.value)
    with pytest.raises(InputError) as nobody:
        fetch(f"http://127.0.0.1:9/x?{query}", target, retries=0)
    for text in (str(caught.value), str(nobody.value), caplog.text, str(left)):
        assert "s3cret" not in text
    assert f"{server.url}?hidden-" in str(caught.value)


def test_hidden_query_that_is_not_known(server, target):
    with pytest.raises(InputError, match=r"\?hidden-0{8}: .*give the whole address, or set"):
        fetch(f"{server.url}?hidden-00000000", target)


@given(st.text(), st.text(min_size=1))
def test_hidden_address_can_be_revealed(path, query):
    address = f"https://host/{path.translate(dict.fromkeys(map(ord, '?#')))}?{query}"
    if "\0" not in query:
        assert reveal(hide(address)) == reveal(hide(hide(address))) == address


def test_of_two_that_want_a_file_one_fetches_it(server, target):
    def slowly(handler):
        time.sleep(0.3)
        answer(body=DATA)(handler)

    server.script = [slowly]
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(get, server, target, DIGEST) for _ in range(2)]
    for one in asked:
        assert_fetched(target, one.result())
    assert len(server.requests) == 1


def test_present_file_needs_no_writable_folder(server, tmp_path, monkeypatch):
    monkeypatch.setattr("i2crc.fetch.download.take_lock", None)
    (tmp_path / DIGEST).write_bytes(DATA)
    assert fetch("http://127.0.0.1:1/", tmp_path / DIGEST, DIGEST) == DIGEST
    assert [path.name for path in tmp_path.iterdir()] == [DIGEST]
