"""The code digest: what makes a stage stale and what does not."""

import os
import shutil

import pytest

from i2crc import code

SOURCE = '''"""What it is for."""
import math


def area(radius: float) -> float:
    """Of a disc."""
    return math.pi * radius**2  # exactly
'''
# scripts/one imports a, which imports b, which imports a again; scripts/two imports c.
LIBRARY = {
    "a": "from i2crc.b import double\n",
    "b": "def half(x):\n    from i2crc import a\n    return x / 2\n",
    "c": "VALUE = 1\n",
}
SCRIPTS = {"one": "from i2crc import a\n", "two": "import i2crc.c\n", "three": "import math\n"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function that gives the digest of every script of a small project."""
    for folder, files in (("library", LIBRARY), ("scripts", SCRIPTS)):
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / f"{name}.py").write_text(text)
    monkeypatch.setattr(code, "LIBRARY", tmp_path / "library")
    return lambda: {name: code.code_digest(tmp_path / "scripts" / f"{name}.py") for name in SCRIPTS}


def stale(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    "text",
    [
        SOURCE.replace("# exactly", "# about"),
        SOURCE.replace("  # exactly", ""),
        SOURCE.replace("Of a disc.", "Of a round thing."),
        SOURCE.replace('    """Of a disc."""\n', ""),
        SOURCE.replace('"""What it is for."""\n', ""),
        SOURCE.replace("math.pi * radius**2", "(\n        math.pi\n        * radius ** 2\n    )"),
        SOURCE + "\n\n\n# The end.\n",
    ],
    ids=["comment", "no comment", "docstring", "no docstring", "no opening", "format", "end"],
)
def test_what_readers_alone_see_changes_nothing(tmp_path, text):
    script = tmp_path / "script.py"
    script.write_text(SOURCE)
    before = code.code_digest(script)
    assert text != SOURCE
    script.write_text(text)
    assert code.code_digest(script) == before


def test_touch_changes_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SOURCE)
    before = code.code_digest(script)
    os.utime(script, (0, 0))
    assert code.code_digest(script) == before


def test_place_changes_nothing(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "script.py").write_text(SOURCE)
    first, second = (code.code_digest(tmp_path / f / "script.py") for f in ("one", "two"))
    assert first == second


@pytest.mark.parametrize(
    ("old", "new"), [("**2", "**3"), ("math.pi", "math.e"), ("radius: float", "radius: int")]
)
def test_code_changes_the_digest(tmp_path, old, new):
    script = tmp_path / "script.py"
    script.write_text(SOURCE)
    before = code.code_digest(script)
    script.write_text(SOURCE.replace(old, new))
    assert code.code_digest(script) != before


@pytest.mark.parametrize(("module", "scripts"), [("a", {"one"}), ("b", {"one"}), ("c", {"two"})])
def test_module_makes_stale_the_scripts_that_import_it(project, tmp_path, module, scripts):
    before = project()
    file = tmp_path / "library" / f"{module}.py"
    file.write_text(file.read_text() + "\nADDED = 1\n")
    assert stale(before, project()) == scripts


def test_stages_of_this_project(tmp_path, monkeypatch):
    """Thresholding code belongs to label generation and refinement, not to the trainings."""
    scripts = code.LIBRARY.parent
    library = shutil.copytree(code.LIBRARY, tmp_path / "i2crc")
    monkeypatch.setattr(code, "LIBRARY", library)

    def digests() -> dict[str, str]:
        return {path.stem: code.code_digest(path) for path in scripts.glob("*.py")}

    before = digests()
    (library / "pseudo_labels.py").write_text(
        (library / "pseudo_labels.py").read_text() + "\nADDED = 1\n"
    )
    changed = stale(before, digests())
    assert {"gen_gt", "refine_labels"} <= changed
    assert not changed & {"train_classifier", "train_segmentation", "infer_cam", "crf", "score"}
