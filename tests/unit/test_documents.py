"""The documents: links lead somewhere, commands name what exists, nothing removed is mentioned."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

import pytest

from i2crc.artifacts.stages import STAGES
from i2crc.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("**/*.md"),
        *(ROOT / folder / "README.md" for folder in ("tests/soak", "benchmarks")),
    ]
)
# The changelog names what earlier versions had.
CURRENT = [file for file in DOCUMENTS if file.name != "CHANGELOG.md"]
REMOVED = (
    "keep_intermediates",
    ".contents.json",
    ".run-id",
    "mended_snakemake",
    "tests/workflow",
    "workflow_scripts/explain.py",
    "workflow_scripts/progress.py",
)
FOLDERS = "workflow_scripts|tests|benchmarks|docs|config|profiles|rules|envs"
# Letters that stand for a name of the reader's own: NAME, FOLDER, mine.yaml.
PLACEHOLDER = re.compile(r"[A-Z]{3,}(?!\w*\.md)|mine\.yaml")
RULES = {
    name
    for file in (ROOT / "Snakefile", *ROOT.glob("rules/*.smk"))
    for name in re.findall(r"^rule (\w+):", file.read_text(), re.MULTILINE)
}


def named(file: Path) -> str:
    return str(file.relative_to(ROOT))


documents = pytest.mark.parametrize("file", DOCUMENTS, ids=named)
current = pytest.mark.parametrize("file", CURRENT, ids=named)


def code_blocks(text: str) -> list[str]:
    return re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"(?ms)^ *```.*?^ *```", "", text))


def links(file: Path) -> list[str]:
    """Return the targets of a document's links and pictures, without those of the web."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_code(file.read_text()))
    return [link for link in found if not re.match(r"\w+:", link)]


def anchors(file: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub and MkDocs name them."""
    titles = re.findall(
        r"^#+ (.*)$", re.sub(r"(?ms)^```.*?^```", "", file.read_text()), re.MULTILINE
    )
    plain = (normalize("NFKC", re.sub(r"[^\w\s-]", "", title)).lower() for title in titles)
    return {re.sub(r"\s+", "-", title.strip()) for title in plain}


def commands(file: Path) -> Iterator[list[str]]:
    """Yield the words of each command line in the code blocks of a document."""
    for block in code_blocks(file.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            try:
                words = shlex.split(line, comments=True)
            except ValueError:
                continue  # not a command line
            if words:
                yield words


def targets(words: list[str]) -> list[str]:
    """Return the targets of a `snakemake` command line: words that are no option and no value."""
    values = several = False
    found = []
    for word in words:
        if word.startswith("-"):
            values = word not in ("-n", "--summary", "--forceall", "--dag")
            several = word == "--configfile"
        elif "=" in word or "$" in word:
            continue
        elif values:
            assert not several or word.endswith(".yaml"), f"{word}: put it before --configfile"
            values = several
        else:
            found.append(word)
    return found


@documents
def test_links_lead_to_a_file_and_a_heading(file):
    for link in links(file):
        name, _, anchor = link.partition("#")
        target = (file.parent / name).resolve() if name else file
        assert target.exists(), f"{link}: no such file"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("file", sorted((ROOT / "docs").glob("*.md")), ids=named)
def test_links_of_the_site_stay_on_the_site(file):
    outside = [link for link in links(file) if link.startswith("..")]
    assert outside == []


@current
def test_paths_of_the_repository_exist(file):
    found = re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./-]*\w", file.read_text())
    missing = [
        path for path in found if not PLACEHOLDER.search(path) and not (ROOT / path).exists()
    ]
    assert missing == []


@current
def test_snakemake_commands_name_targets_that_exist(file):
    for words in commands(file):
        programs = [n for n, word in enumerate(words) if Path(word).name == "snakemake"]
        for target in targets(words[programs[0] + 1 :]) if programs else ():
            known = target in RULES or target.startswith("results/") or target == "[TARGET]"
            assert known, f"{' '.join(words)}: {target} is no target"


@current
def test_i2crc_commands_exist(file):
    for words in commands(file):
        if Path(words[0]).name == "i2crc":
            assert words[1] in COMMANDS, " ".join(words)


@current
@pytest.mark.parametrize("name", REMOVED)
def test_nothing_is_mentioned_that_was_removed(file, name):
    assert name not in file.read_text()


def test_every_file_of_the_method_exists():
    names = re.findall(r"`([\w/]+\.py)`", (ROOT / "docs/METHOD.md").read_text())
    assert len(names) > 20
    places = [ROOT / "workflow_scripts", ROOT]
    assert [n for n in names if not any((place / n).is_file() for place in places)] == []


def test_architecture_names_every_stage_and_every_package():
    text = (ROOT / "docs/ARCHITECTURE.md").read_text()
    packages = {
        file.parent.name for file in (ROOT / "workflow_scripts/i2crc").glob("*/__init__.py")
    }
    assert [name for name in {*STAGES, *packages} if f"`{name}`" not in text] == []


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    assert [page.name for page in pages if page.name not in navigation] == []


def test_pictures_are_small():
    large = [file for file in (ROOT / "docs").rglob("*") if file.stat().st_size > 300 * 1024]
    assert large == []
