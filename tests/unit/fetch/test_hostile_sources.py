"""The stages that fetch, as real processes, against a server that sends everything but data."""

import json
import pickle
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from helpers.archives import tar_bytes, zip_bytes
from helpers.server import CUT, answer
from helpers.weights import Malicious
from i2crc.artifacts.stages import STAGES
from i2crc.data.index import Entry, Index

SCRIPTS = Path(__file__).parents[3] / "workflow_scripts"
INDEX = Index("train", ["cat", "dog"], [Entry("a", "a.jpg", None, [0, 1], 4, 3, "0" * 64)])
CACHE = {"download_saliency": "saliency/cache", "fetch_checkpoint": "published/cache"}
HIDDEN = r"maps\.tar\?hidden-[0-9a-f]{8}"
# What the server plays -> what the message says after the address, on one line.
REFUSED = {
    "404": (answer(404), "status 404 .*; give another source"),
    "html": (answer(body=b"<html>Log in", Content_Type="text/html"), "a page of HTML .*; give"),
    "loop": (answer(302, Location="/maps.tar"), "Exceeded 30 redirects.; give another source"),
    "digest": (answer(body=b"data"), "SHA-256 is .*, expected 0{64}; run again or correct it"),
}
CONTENTS = {
    "no archive": (b"data", "no tar or zip archive, .*give another source"),
    "outside": (tar_bytes({"../../evil.png": b""}), r"'\.\./\.\./evil\.png' lies outside"),
    "absolute": (zip_bytes({"/absolute/evil.png": b""}), "'/absolute/evil.png' lies outside"),
    "damaged": (zip_bytes({"a.png": b"x" * 999})[:-30], "damaged, incomplete"),
    "no map": (tar_bytes({"b.png": b"x"}), r"a\.png: no such saliency map; add it"),
}


def stage(folder: Path, script: str, source: str, *options: str) -> tuple[int, str]:
    """Run a stage that fetches; return its exit status and its log."""
    index, output = folder / "train.json", folder / CACHE[script]
    index.write_text(json.dumps(asdict(INDEX)))
    command = [
        sys.executable,
        SCRIPTS / STAGES[script].script,
        f"--source={source}",
        "--index",
        index,
    ]
    command += ["--cache", output, "--log", folder / "log", *options]
    if script == "download_saliency":
        command += ["--retries", "1"]
        command += ["--manifest", folder / "saliency/manifest.json"]
    else:
        command += ["--weights", folder / "published/weights.safetensors"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr
    for path in filter(Path.is_file, folder.rglob("*")):
        assert b"s3cret" not in path.read_bytes(), path
    assert "s3cret" not in done.stderr
    return done.returncode, done.stderr


def problem_of(folder: Path) -> str:
    """Return the one problem that download_saliency records, as the user will read it."""
    manifest = json.loads((folder / "saliency/manifest.json").read_text())
    assert manifest["files"] == {}
    (problem,) = manifest["problems"]
    return "{file}: {problem}; {remedy}".format(**problem)


def assert_only(folder: Path, script: str, *names: str) -> None:
    """Check that nothing was written except the outputs of the stage."""
    own = {"train.json", "log", ".log.lock", ".log.status.json", CACHE[script].split("/")[0]}
    assert {path.name for path in folder.iterdir()} == own
    assert not list(folder.parent.rglob("evil*"))
    found = {path.name for path in (folder / CACHE[script]).rglob("*") if path.suffix != ".lock"}
    assert not {name for name in found if not name.startswith(names)}


@pytest.mark.parametrize(
    ("script", "case"),
    [
        *(("download_saliency", case) for case in REFUSED),
        *(("fetch_checkpoint", case) for case in ("404", "digest")),
    ],
)
def test_what_is_no_file(server, tmp_path, script, case):
    play, message = REFUSED[case]
    server.script = [play]
    options = ["--sha256", "0" * 64] if case == "digest" else []
    folder = tmp_path / "results"
    folder.mkdir()
    status, said = stage(folder, script, f"{server.url}?token=s3cret", *options)
    if script == "download_saliency":
        assert status == 0
        said = problem_of(folder)
    else:
        assert status == 1
    assert re.search(f"127.*{HIDDEN}: {message}", said, re.DOTALL)
    assert_only(folder, script)


@pytest.mark.parametrize("case", CONTENTS)
def test_what_is_no_archive_of_maps(server, tmp_path, case):
    content, message = CONTENTS[case]
    server.script = [answer(body=content)]
    folder = tmp_path / "results"
    folder.mkdir()
    assert stage(folder, "download_saliency", f"{server.url}?token=s3cret")[0] == 0
    assert re.search(f"{HIDDEN}.*: .*{message}", problem_of(folder), re.DOTALL)
    assert_only(folder, "download_saliency", "saliency-")


def test_transfer_that_breaks_for_ever(server, tmp_path):
    server.script = [CUT]
    stage(tmp_path, "download_saliency", server.url)
    message = r"127.*: not fetched in 2 tries \(IncompleteRead.*\); run again to go on"
    assert re.search(message, problem_of(tmp_path), re.DOTALL)


def test_link_in_place_of_the_unpacked_maps_is_not_followed(server, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "photo").write_text("precious")
    folder = tmp_path / "results"
    (folder / "saliency").mkdir(parents=True)
    (folder / "saliency/unpacked").symlink_to(mine)
    server.script = [answer(body=tar_bytes({"b.png": b"x"}))]
    stage(folder, "download_saliency", server.url)
    assert "no such saliency map" in problem_of(folder)
    assert [path.name for path in mine.iterdir()] == ["photo"]
    assert not (folder / "saliency/unpacked").is_symlink()


def test_checkpoint_that_would_run_code(server, tmp_path):
    trace = tmp_path / "trace"
    server.script = [answer(body=pickle.dumps({"state_dict": Malicious(trace)}))]
    status, said = stage(tmp_path, "fetch_checkpoint", f"{server.url}?token=s3cret")
    assert status == 1
    assert re.search(rf"{HIDDEN}, fetched to .*: refused.*convert it once", said, re.DOTALL)
    assert not trace.exists()
    assert not (tmp_path / "published/weights.safetensors").exists()
