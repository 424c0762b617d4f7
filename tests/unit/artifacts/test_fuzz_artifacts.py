"""Artifacts that were damaged, edited or put there by others: an error that names the file."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i2crc.artifacts.damage import damaged_files
from i2crc.artifacts.journal import FileRecord, Journal
from i2crc.artifacts.lineage import trace
from i2crc.artifacts.manifest import read_manifests
from i2crc.artifacts.provenance import content_digest, read_provenance
from i2crc.artifacts.schemas import Score, Sweep, read_checked
from i2crc.data.index import read_index
from i2crc.evaluation.comparison import read_experiments, read_images
from i2crc.report.pages import html_table
from i2crc.report.score_table import notes
from i2crc.report.score_table import row as score_row
from i2crc.runtime.atomic import digest_bytes
from i2crc.runtime.errors import InputError

FACTS = {
    "script": "gen_gt",
    "settings": {"a": 1},
    "settings_sha256": "0" * 64,
    "code_sha256": "0" * 64,
    "inputs": {"../a.json": "0" * 64},
    "seed": 0,
    "precision": None,
    "device": "cpu",
    "versions": {"python": "3"},
    "git": {"revision": "0" * 40, "changed": False},
    "start": "2024-01-01T00:00:00+00:00",
    "seconds": 1.5,
}
MANIFEST = {
    "stage": "gen_gt",
    "folder": "images",
    "count": 1,
    "files": {"a.png": "0" * 64},
    "sizes": {"a.png": 9},
    "provenance": FACTS,
}
INDEX = {
    "split": "train",
    "classes": ["cat", "dog"],
    "images": [
        {
            "id": "a",
            "image": "photos/a.jpg",
            "mask": None,
            "classes": [0, 1],
            "width": 4,
            "height": 3,
            "sha256": "0" * 64,
        }
    ],
    "provenance": FACTS,
}
SCORE = {
    "stage": "cam",
    "split": "train",
    "images": 1,
    "miou": 0.5,
    "miou_interval": [0.4, 0.6],
    "miou_255_as_background_interval": [0.3, 0.5],
    "miou_255_as_background": 0.4,
    "miou_255_as_wrong": 0.3,
    "boundary_iou": 0.1,
    "coverage": 0.9,
    "pixel_accuracy": 0.7,
    "iou": {"background": 0.5, "cat": None},
    "iou_255_as_background": {"background": 0.5, "cat": None},
    "by_object_size": {"small": {"objects": 2, "recall": 0.5, "found": None}},
    "images_without_mask": ["a"],
    "provenance": FACTS,
}
POINT = {
    "value": 0.2,
    "miou": 0.5,
    "miou_255_as_background": 0.4,
    "miou_255_as_wrong": 0.3,
    "coverage": 0.9,
}
SWEEP = {
    "parameter": "p",
    "split": "train",
    "points": [POINT],
    "fixed": POINT,
    "oracle": {"miou": POINT},
}
ARTIFACTS = {"manifest": MANIFEST, "index": INDEX, "score": SCORE}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


def places(value, prefix=()) -> list[tuple]:
    """The way to every value within a JSON value."""
    found = [prefix]
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            found += places(inner, (*prefix, key))
    return found


def changed(value, place: tuple, new, drop: bool):
    """`value` with another value in a place, or without it."""
    if not place:
        return new
    value = json.loads(json.dumps(value))
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    if drop:
        del inner[place[-1]]
    else:
        inner[place[-1]] = new
    return value


@st.composite
def nearly(draw):
    """An artifact in which one value is another one or missing."""
    artifact = ARTIFACTS[draw(st.sampled_from(sorted(ARTIFACTS)))]
    place = draw(st.sampled_from(places(artifact)))
    return changed(artifact, place, draw(JSON), draw(st.booleans()))


def read_all(file: Path) -> None:
    """Every reader of artifacts on one file; the first may not spare it the others."""
    root = file.parents[1]
    readers = [
        lambda: read_manifests([file]),
        lambda: read_index(file),
        lambda: read_provenance(file),
        lambda: content_digest(file),
        lambda: damaged_files(file),
        lambda: trace(file),
        lambda: read_experiments([root, root / "other"]),
    ]
    for read in readers:
        try:
            read()
        except InputError as error:
            assert str(file) in str(error) or file.name in str(error) or "compare" in str(error)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment") / "one"
    (folder / "scores").mkdir(parents=True)
    other = folder / "other" / "scores"
    other.mkdir(parents=True)
    (other / "cam.json").write_text(json.dumps(SCORE))
    return folder / "scores" / "cam.json"


@settings(max_examples=300)
@given(nearly() | JSON)
def test_artifact_of_nearly_the_right_shape(file, content):
    file.write_text(json.dumps(content))
    read_all(file)


@given(st.binary(max_size=50))
def test_artifact_of_any_bytes(file, content):
    file.write_bytes(content)
    read_all(file)


def test_sound_artifacts_are_read(file):
    for content in ARTIFACTS.values():
        file.write_text(json.dumps(content))
        assert read_provenance(file) == FACTS
    file.write_text(json.dumps(MANIFEST))
    assert read_manifests([file]) == {"a.png": (file.parent / "images" / "a.png", "0" * 64)}
    file.write_text(json.dumps(INDEX))
    assert read_index(file).images[0].classes == [0, 1]


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "a/../../b", "", "a\0b"])
def test_files_outside_are_refused(file, name):
    for content in (
        MANIFEST | {"folder": name},
        MANIFEST | {"files": {name: "0" * 64}},
        INDEX | {"images": [INDEX["images"][0] | {"id": name}]},
    ):
        file.write_text(json.dumps(content))
        readers = [lambda: read_manifests([file]), lambda: damaged_files(file)]
        for read in [lambda: read_index(file)] if "images" in content else readers:
            with pytest.raises(
                InputError, match=r"cam\.json: .* leads out of its folder.*; delete it"
            ):
                read()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd"])
def test_sizes_of_files_outside_are_refused(file, name):
    file.write_text(json.dumps(MANIFEST | {"sizes": {name: 1}}))
    with pytest.raises(InputError, match=r"cam\.json: .* leads out of its folder"):
        damaged_files(file)


def test_the_wrong_entry_of_an_index_is_named(file):
    entry = INDEX["images"][0]
    file.write_text(json.dumps(INDEX | {"images": [entry, entry | {"width": 0}]}))
    with pytest.raises(InputError, match=r"cam\.json: damaged \(images\.1\.(Entry\.)?width: "):
        read_index(file)


def test_class_that_an_index_does_not_have_is_refused(file):
    for number in (2, -1):
        content = INDEX | {"images": [INDEX["images"][0] | {"classes": [0, number]}]}
        file.write_text(json.dumps(content))
        with pytest.raises(InputError, match=r"cam\.json: .*a has a class that is none of the 2"):
            read_index(file)


RECORD = {"sha256": digest_bytes(b"made"), "bytes": 4, "mtime_ns": 0}
LINE = {"id": "a", "key": "k", "files": {"a.png": RECORD}}


@given(
    st.lists(
        st.binary(max_size=30)
        | JSON.map(lambda value: json.dumps(value).encode())
        | st.builds(
            lambda place, new, drop: json.dumps(changed(LINE, place, new, drop)).encode(),
            st.sampled_from(places(LINE)),
            JSON,
            st.booleans(),
        )
    )
)
def test_journal_of_any_lines(file, lines):
    """A damaged line costs at most its own image; sound lines before and after it count."""
    images = file.parent / "images"
    images.mkdir(exist_ok=True)
    (images / "a.png").write_bytes(b"made")
    journal = file.with_suffix(".journal")
    journal.write_bytes(b"\n".join([*lines, json.dumps(LINE).encode()]))
    assert Journal(journal, images).finished({"a": "k"}) == {"a": {"a.png": FileRecord(**RECORD)}}
    journal.write_bytes(b"\n".join([json.dumps(LINE).encode(), *lines]))
    Journal(journal, images).finished({"a": "k"})
    Journal(journal, images).provenance("made of")


@given(st.lists(st.text(max_size=12), min_size=1, max_size=3))
def test_scores_of_images_of_any_text(file, counts):
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerows([["id", "counts"], *([str(n), text] for n, text in enumerate(counts))])
    images = file.with_suffix(".images.csv")
    images.write_text(table.getvalue(), newline="", errors="replace")
    try:
        assert len(read_images(images, 20)) == len(counts)
    except InputError as error:
        assert str(images) in str(error)


@given(st.binary(max_size=60))
def test_scores_of_images_of_any_bytes(file, content):
    images = file.with_suffix(".images.csv")
    images.write_bytes(b"id,counts\n" + content)
    try:
        read_images(images, 20)
    except InputError as error:
        assert str(images) in str(error)


@given(st.data())
def test_scores_of_nearly_the_right_shape_are_shown_or_refused(file, data):
    place = data.draw(st.sampled_from(places(SCORE)))
    content = changed(SCORE, place, data.draw(JSON), data.draw(st.booleans()))
    file.write_text(json.dumps(content))
    try:
        score = read_checked(file, Score)
    except InputError as error:
        assert f"{file}: damaged (" in str(error)
    else:
        assert html_table(["a"], [score_row(score)]) and notes([score])


@pytest.mark.parametrize(("schema", "content"), [(Score, SCORE), (Sweep, SWEEP)])
def test_results_that_lack_a_part_are_refused(file, schema, content):
    file.write_text(json.dumps(content))
    assert read_checked(file, schema) == content
    for name in schema.model_fields:
        file.write_text(json.dumps({key: content[key] for key in content if key != name}))
        if name == "by_object_size":  # scores of older versions have none
            assert name not in read_checked(file, schema)
            continue
        with pytest.raises(InputError, match=rf"cam\.json: damaged \({name}: .*; delete it"):
            read_checked(file, schema)
