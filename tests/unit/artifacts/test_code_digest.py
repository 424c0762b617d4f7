"""The code digest: what makes a stage stale and what does not."""

import os
import re
import shutil

import pytest

from i2crc.artifacts import code_digest as code

SOURCE = '''"""What it is for."""
import math


def area(radius: float) -> float:
    """Of a disc."""
    return math.pi * radius**2  # exactly
'''
# What the small project's scripts reach of its library.
LIBRARY = {
    "__init__": "",
    "shapes": """
import math
from dataclasses import dataclass

from i2crc.units import scaled

UNIT = 1
UNUSED = 2


@dataclass
class Disc:
    radius: float

    def area(self) -> float:
        return math.pi * self.radius**2

    def other(self) -> int:
        return 3


def area(side: float = UNIT) -> float:
    return scaled(side) ** 2


def half(side: float) -> float:
    from i2crc import late
    return late.halved(side)


def made() -> "Maker":
    return globals()["Maker"]()


class Maker:
    pass
""",
    "units": "FACTOR = 2\n\ndef scaled(x):\n    return x * FACTOR\n\ndef spare(x):\n    return x\n",
    "late": "def halved(x):\n    return x / 2\n",
    "front": "from i2crc.shapes import area as surface\nfrom i2crc import units\n",
    "console": "def run():\n    pass\n",
    "table": "import math\nALL = {}\nALL['a'] = math.e\nif ALL:\n    def f(): return 1\n",
    "cycle": "from i2crc import cycle2\n\ndef f():\n    return cycle2.g()\n",
    "cycle2": "from i2crc.cycle import f\n\ndef g():\n    return f\n",
}
SCRIPTS = {
    "name": "from i2crc.shapes import area\nprint(area(2))\n",
    "attribute": "from i2crc import shapes\nprint(shapes.area(2))\n",
    "path": "import i2crc.shapes\nprint(i2crc.shapes.area(2))\n",
    "again": "import i2crc.front as front\nprint(front.surface(2))\n",
    "class": "from i2crc.shapes import Disc\nprint(Disc(2).area())\n",
    "local": "def f():\n    from i2crc.shapes import half\n    return half(2)\n",
    "whole": "from i2crc import shapes\nprint(vars(shapes))\n",
    "star": "from i2crc.shapes import *\nprint(area(2))\n",
    "dynamic": "from i2crc.shapes import made\nprint(made())\n",
    "import": "import i2crc.table\nfrom i2crc.console import run\n",
    "cycle": "from i2crc.cycle import f\nf()\n",
    "none": "import math\n",
}
OF_AREA = {"name", "attribute", "path", "again", "whole", "star", "dynamic"}
OF_ALL_SHAPES = {"whole", "star", "dynamic"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function that gives the digest of every script of a small project."""
    for folder, files in (("library", LIBRARY), ("scripts", SCRIPTS)):
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / f"{name}.py").write_text(text)
    monkeypatch.setattr(code, "LIBRARY", tmp_path / "library")
    return lambda: {name: code.code_digest(tmp_path / "scripts" / f"{name}.py") for name in SCRIPTS}


def replace(file, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


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


@pytest.mark.parametrize(
    ("module", "old", "new", "scripts"),
    [
        ("shapes", "** 2", "** 3", OF_AREA),
        ("shapes", "UNIT = 1", "UNIT = 3", OF_AREA),
        ("shapes", "UNUSED = 2", "UNUSED = 3", OF_ALL_SHAPES),
        ("shapes", "return 3", "return 4", OF_ALL_SHAPES | {"class"}),
        ("shapes", "@dataclass", "@dataclass(frozen=True)", OF_ALL_SHAPES | {"class"}),
        ("shapes", "import math", "import cmath as math", OF_ALL_SHAPES | {"class"}),
        ("shapes", "import scaled", "import spare as scaled", OF_AREA),
        ("shapes", "class Maker:\n    pass", "class Maker:\n    a = 1", OF_ALL_SHAPES),
        ("units", "FACTOR = 2", "FACTOR = 3", OF_AREA),
        ("units", "return x\n", "return -x\n", set()),
        ("late", "x / 2", "x / 3", OF_ALL_SHAPES | {"local"}),
        ("front", "import area", "import half", {"again"}),
        ("front", "import units", "import late", set()),
        ("table", "math.e", "math.pi", {"import"}),
        ("table", "import math", "import cmath as math", {"import"}),
        ("table", "return 1", "return 2", {"import"}),
        ("console", "pass", "print()", set()),
        ("cycle2", "return f", "return f()", {"cycle"}),
        ("__init__", "", "import os\nos.nice(1)\n", set(SCRIPTS)),
    ],
)
def test_change_makes_stale_the_scripts_that_reach_it(project, tmp_path, module, old, new, scripts):
    before = project()
    replace(tmp_path / "library" / f"{module}.py", old, new)
    assert stale(before, project()) == scripts


@pytest.mark.parametrize(
    ("addition", "scripts"),
    [
        ("def added():\n    return 1\n", OF_ALL_SHAPES),
        ("ADDED = area(1)\n", OF_ALL_SHAPES),
        ("import os\n", OF_ALL_SHAPES),
        ("print(1)\n", OF_AREA | {"class", "local"}),
        ("math.tau = 6\n", OF_AREA | {"class", "local"}),
        ("for _ in []: pass\n", OF_AREA | {"class", "local"}),
        ("x, math.tau = 0, 6\n", OF_AREA | {"class", "local"}),
        ("@register\ndef added():\n    pass\n", OF_AREA | {"class", "local"}),
        ("from i2crc import table\n", OF_AREA | {"class", "local"}),
        ("UNIT += 1\n", OF_AREA),
        ("A = (UNIT := 5)\n", OF_AREA),
        ("def area(): return 5\n", OF_AREA),
        ("class Disc: pass\n", OF_ALL_SHAPES | {"class"}),
    ],
)
def test_addition_makes_stale_the_scripts_that_reach_it(project, tmp_path, addition, scripts):
    before = project()
    file = tmp_path / "library" / "shapes.py"
    file.write_text(file.read_text() + addition)
    # In a script that imports the module, its top-level statements run, needed or not.
    assert stale(before, project()) == scripts


def test_what_an_import_binds_counts(project, tmp_path):
    digests = set()
    for names in ("scaled as a, spare as b", "scaled as b, spare as a"):
        text = f"from i2crc.units import {names}\ndef area(x):\n    return a(b(x))\n"
        (tmp_path / "library" / "shapes.py").write_text(text)
        digests.add(project()["name"])
    assert len(digests) == 2


def test_relative_imports_are_followed(project, tmp_path):
    file = tmp_path / "library" / "shapes.py"
    for text in (
        "from . import units\narea = units.scaled\n",
        "from .units import scaled as area\n",
    ):
        file.write_text(text)
        before = project()["name"]
        replace(tmp_path / "library" / "units.py", "x *", "x * 1 *")
        assert project()["name"] != before


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """A copy of this project's library, and a function that gives the digests of its scripts."""
    scripts = sorted(code.LIBRARY.parent.glob("*.py"))
    library = shutil.copytree(code.LIBRARY, tmp_path / "i2crc")
    monkeypatch.setattr(code, "LIBRARY", library)
    return library, lambda: {path.stem: code.code_digest(path) for path in scripts}


TRAININGS = {"train_classifier", "train_segmentation"}
IMAGE_STAGES = {"infer_cam", "gen_gt", "predict", "crf", "refine_labels"}


@pytest.mark.parametrize(
    ("module", "function", "changed"),
    [
        ("pseudo_labels", "refine_label", {"refine_labels"}),
        ("pseudo_labels", "initial_label", {"gen_gt", "sweep"}),
        ("engine", "train", TRAININGS),
        ("losses", "relation_losses", {"train_classifier"}),
    ],
)
def test_stages_of_this_project(stages, module, function, changed):
    library, digests = stages
    before = digests()
    file = library / f"{module}.py"
    docstring = rf'(\ndef {function}\(.*?\n    """.*?"""\n)'
    text, count = re.subn(docstring, r"\1    0\n", file.read_text(), flags=re.S)
    assert count == 1
    file.write_text(text)
    assert stale(before, digests()) == changed


def test_new_settings_and_functions_leave_this_project_as_it_is(stages):
    library, digests = stages
    before = digests()
    for file in library.glob("*.py"):
        added = "import colorsys\n\nADDED = 1\n\n\ndef added():\n    return ADDED\n"
        file.write_text(file.read_text() + added)
    assert stale(before, digests()) == set()


def test_settings_of_the_evaluation_train_nothing_anew(stages):
    library, digests = stages
    before = digests()
    replace(library / "config.py", "setting(1000,", "setting(999,")
    changed = stale(before, digests())
    assert "score" in changed
    assert not changed & (TRAININGS | IMAGE_STAGES | {"prepare_data"})


def test_a_method_counts_for_the_users_of_its_class(stages):
    library, digests = stages
    before = digests()
    replace(library / "manifests.py", "if entry is None or", "if not entry or")
    assert stale(before, digests()) >= IMAGE_STAGES


def test_logs_and_facts_about_results_change_no_stage(stages):
    library, digests = stages
    before = digests()
    replace(library / "provenance.py", '"seed": self.seed', '"seeds": self.seed')
    replace(library / "console.py", "%H:%M:%S", "%H:%M")
    assert stale(before, digests()) == set()


def test_the_library_is_flat():
    """Imports of a folder in it would not be followed."""
    assert all(path.parent == code.LIBRARY for path in code.LIBRARY.rglob("*.py"))
