"""The code digest: what makes a stage stale and what does not."""

import ast
import os
import shutil
from pathlib import Path

import pytest

from helpers.project import ROOT
from i2crc.artifacts.code_digest import code_digest
from i2crc.artifacts.stages import STAGES

OWN_SCRIPTS = ROOT / "workflow_scripts"
SOURCE = '''"""What it is for."""
import math


def area(radius: float) -> float:
    """Of a disc."""
    return math.pi * radius**2  # exactly
'''
# A small library, and scripts that import parts of it.
LIBRARY = {
    "__init__": "",
    "shapes/__init__": "",
    "shapes/disc": "from i2crc.shapes.units import scaled\n\ndef area(x):\n    return scaled(x)\n",
    "shapes/units": "FACTOR = 2\n\ndef scaled(x):\n    return x * FACTOR\n",
    "shapes/late": "def halved(x):\n    return x / 2\n",
    "shapes/lazy": "def half(x):\n    from i2crc.shapes import late\n    return late.halved(x)\n",
    "labels/__init__": "from i2crc.shapes import units\n",
    "labels/front": "from i2crc.shapes.disc import area as surface\n",
    "labels/cycle": "from i2crc.labels import other\n",
    "labels/other": "import i2crc.labels.cycle\n",
    "runtime/__init__": "",
    "runtime/log": "from i2crc.shapes import late\n",
    "cli/__init__": "",
    "cli/main": "def run(): pass\n",
}
SCRIPTS = {
    "name": "from i2crc.shapes.disc import area\nprint(area(2))\n",
    "module": "from i2crc.shapes import disc\nprint(disc.area(2))\n",
    "path": "import i2crc.shapes.disc\nprint(i2crc.shapes.disc.area(2))\n",
    "again": "import i2crc.labels.front as front\nprint(front.surface(2))\n",
    "local": "def f():\n    from i2crc.shapes.lazy import half\n    return half(2)\n",
    "cycle": "from i2crc.labels.cycle import other\n",
    "logs": "from i2crc.runtime.log import x\nfrom i2crc.cli import main\n",
    "none": "import math\n",
}
OF_DISC = {"name", "module", "path", "again"}
OF_SHAPES = OF_DISC | {"local", "cycle"}


@pytest.fixture
def project(tmp_path):
    """A function that gives the digest of every script of a small project."""
    for folder, files in (("i2crc", LIBRARY), ("scripts", SCRIPTS)):
        for name, text in files.items():
            path = tmp_path / folder / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return lambda: {name: code_digest(tmp_path / "scripts" / f"{name}.py") for name in SCRIPTS}


def replace(file: Path, old: str, new: str) -> None:
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
    before = code_digest(script)
    assert text != SOURCE
    script.write_text(text)
    assert code_digest(script) == before


def test_touch_changes_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SOURCE)
    before = code_digest(script)
    os.utime(script, (0, 0))
    assert code_digest(script) == before


def test_place_changes_nothing(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "script.py").write_text(SOURCE)
    first, second = (code_digest(tmp_path / f / "script.py") for f in ("one", "two"))
    assert first == second


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("**2", "**3"),
        ("math.pi", "math.e"),
        ("radius: float", "radius: int"),
        ('    """Of a disc."""\n', '    radius += 0\n    "text"\n'),
    ],
)
def test_code_changes_the_digest(tmp_path, old, new):
    script = tmp_path / "script.py"
    script.write_text(SOURCE)
    before = code_digest(script)
    replace(script, old, new)
    assert code_digest(script) != before


@pytest.mark.parametrize(
    ("module", "old", "new", "scripts"),
    [
        ("shapes/disc", "scaled(x)", "-scaled(x)", OF_DISC),
        ("shapes/units", "FACTOR = 2", "FACTOR = 3", OF_DISC | {"cycle"}),
        ("shapes/late", "x / 2", "x / 3", {"local"}),
        ("shapes/lazy", "import late", "import late as late", {"local"}),
        ("shapes/__init__", "", "import os\n", OF_SHAPES),
        ("labels/__init__", "units", "disc", {"again", "cycle"}),
        ("labels/front", "area", "scaled", {"again"}),
        ("labels/other", "import", "import math, ", {"cycle"}),
        ("runtime/log", "late", "lazy", set()),
        ("runtime/__init__", "", "import os\n", set()),
        ("cli/main", "pass", "print()", set()),
        ("__init__", "", "import os\nos.nice(1)\n", OF_SHAPES),
    ],
)
def test_change_makes_stale_the_scripts_that_import_it(
    project, tmp_path, module, old, new, scripts
):
    before = project()
    replace(tmp_path / "i2crc" / f"{module}.py", old, new)
    assert stale(before, project()) == scripts


def test_comments_and_docstrings_of_a_library_change_nothing(project, tmp_path):
    before = project()
    for path in (tmp_path / "i2crc").rglob("*.py"):
        path.write_text(f'"""Says something."""\n\n# Also.\n{path.read_text()}')
    assert stale(before, project()) == set()


def test_templates_of_an_imported_package_count(project, tmp_path):
    template = tmp_path / "i2crc/labels/templates/page.html"
    template.parent.mkdir()
    template.write_text("<p>")
    before = project()
    template.write_text("<b>")
    assert stale(before, project()) == {"again", "cycle"}


@pytest.fixture
def stages(tmp_path):
    """A copy of this project's library, and a function that gives the digests of its scripts."""
    scripts = shutil.copytree(OWN_SCRIPTS, tmp_path / "scripts")
    return scripts / "i2crc", lambda: {
        s.name: code_digest(scripts / s.script) for s in STAGES.values()
    }


TRAININGS = {"train_classifier", "train_segmentation"}


@pytest.mark.parametrize(
    ("module", "among", "changed"),
    [
        ("labels/pseudo_labels", None, {"gen_gt", "refine_labels", "score", "sweep"}),
        ("training/loop", None, TRAININGS),
        ("training/losses", TRAININGS, TRAININGS),
        ("training/segmentation", None, {"train_segmentation"}),
        ("training/classifier", None, {"train_classifier"}),
        ("evaluation/metrics", TRAININGS | {"infer_cam", "gen_gt", "predict", "crf"}, set()),
        ("runtime/log", None, set()),
        ("cli/explain", None, set()),
    ],
)
def test_stages_of_this_project(stages, module, among, changed):
    """A new statement in a module makes exactly the stages stale that import it."""
    library, digests = stages
    before = digests()
    file = library / f"{module}.py"
    file.write_text(f"{file.read_text()}\nADDED = 1\n")
    found = stale(before, digests())
    assert (found if among is None else found & among) == changed


def test_no_module_is_imported_in_a_way_that_is_not_followed():
    for path in (OWN_SCRIPTS / "i2crc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"


def test_scripts_import_no_other_script():
    """Scripts are not followed, only the library is."""
    scripts = {stage.name for stage in STAGES.values()}
    for stage in STAGES.values():
        tree = ast.parse((OWN_SCRIPTS / stage.script).read_bytes())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {
            name
            for node in imports
            for name in (
                [node.module]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
            )
        }
        assert not names & scripts, stage.name
