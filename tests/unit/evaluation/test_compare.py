"""compare.py: paired differences of scores, and the settings that differ."""

import runpy
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from helpers.experiment_tree import SCRIPTS, Tree, make_dataset
from i2crc.artifacts.provenance import read_provenance
from i2crc.artifacts.stages import STAGES
from i2crc.config.schema import PseudoLabels
from i2crc.evaluation.comparison import (
    differing_settings,
    make_command,
    outdated,
    read_experiments,
    read_images,
    resample,
)
from i2crc.runtime.atomic import digest_file, read_json, write_json
from i2crc.runtime.errors import InputError

SCRIPT = SCRIPTS / STAGES["compare"].script
IMAGES = 10
OUTPUTS = {
    "output_json": "compare.json",
    "table": "table.md",
    "html": "compare.html",
    "figure": "compare.svg",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Three experiments: `worse` misses more of every object, `other` in some images alone."""
    project = tmp_path_factory.mktemp("compare") / "project"
    project.mkdir()
    make_dataset(project, IMAGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        Tree(project, "base")
        Tree(project, "worse", PseudoLabels(conflict_threshold=0.8), missed=(2,))
        Tree(project, "other", missed=(0, 1, 2), limit=9)
        return project


@pytest.fixture
def project(finished, tmp_path, monkeypatch):
    """A copy that a test may damage, as the working directory."""
    monkeypatch.chdir(shutil.copytree(finished, tmp_path / "project"))


def compared(*names):
    """The JSON of a comparison of experiments."""
    files = {key: Path("compare") / name for key, name in OUTPUTS.items()}
    folders = [Path("results") / name for name in names]
    main = runpy.run_path(str(SCRIPT))["main"]
    main(Namespace(experiments=folders, bootstrap=200, **files))
    return read_json(files["output_json"])


def change_score(name, change):
    """Apply `change` to the content of an experiment's score file."""
    path = Path("results") / name / "scores/initial_labels.json"
    content = read_json(path)
    change(content)
    write_json(path, content)


def test_a_difference_in_every_image_is_marked(project):
    found = compared("base", "worse")
    base, worse = found["results"]
    assert found["baseline"] == base["experiment"] == "results/base"
    assert "difference" not in base
    assert worse["common_images"] == IMAGES
    for kind in ("", "_255_as_background"):
        change = worse[f"difference{kind}"]
        assert change == pytest.approx(worse[f"miou{kind}"] - base[f"miou{kind}"])
        low, high = worse[f"difference{kind}_interval"]
        assert low <= change <= high < 0
        assert worse[f"differs{kind}"] == "lower"
        assert compared("worse", "base")["results"][1][f"differs{kind}"] == "higher"


def test_a_label_that_ignores_what_it_would_miss_does_not_win(project):
    """`base` and `shy` miss the same pixels; `shy` says 255 there. Only `miou` thinks it better."""
    Tree(Path.cwd(), "shy", ignoring=True)
    base, shy = compared("base", "shy")["results"]
    assert shy["coverage"] < base["coverage"] == 1
    assert shy["differs"] == "higher" and shy["miou"] == 1
    assert shy["differs_255_as_background"] == ""
    assert shy["miou_255_as_background"] == base["miou_255_as_background"]
    lines = (Path("compare") / OUTPUTS["table"]).read_text().splitlines()
    header, _, _, second = [line.split(" | ") for line in lines if line.startswith("|")][:4]
    shown = {key.strip(): cell.strip() for key, cell in zip(header, second, strict=True)}
    assert list(shown)[4:6] == ["mIoU, 255 as background (95 % interval)", "Coverage"]
    assert shown["Coverage"] == f"{shy['coverage']:.3f}"
    assert shown["Difference (95 % interval)"] == "+0.000 (+0.000 to +0.000)"
    assert shown["Differs"] == ""


def test_a_difference_that_may_be_chance_is_not_marked(project):
    row = compared("base", "other")["results"][1]
    low, high = row["difference_255_as_background_interval"]
    assert low < 0 < high
    assert row["differs_255_as_background"] == ""


def test_an_experiment_does_not_differ_from_its_copy(project):
    shutil.copytree("results/base", "results/copy")
    found = compared("base", "copy")
    assert found["results"][1]["difference_255_as_background_interval"] == [0, 0]
    assert found["results"][1]["differs_255_as_background"] == ""
    assert found["settings"] == []
    scores = [f"results/{name} has scores of initial_labels." for name in ("base", "copy")]
    assert found["notes"] == scores


def test_pairing_makes_the_interval_narrower(project):
    images = [
        read_images(Path(f"results/{name}/scores/initial_labels.images.csv"), 3)
        for name in ("base", "worse")
    ]
    one, two = (resample(each, 3, 400)[1].mious(as_background=True) for each in images)
    shuffled = np.random.default_rng(0).permutation(two)
    assert np.std(two - one) < np.std(shuffled - one)


def test_different_numbers_of_images_are_compared_on_the_common_ones(project):
    found = compared("base", "other")
    base, other = found["results"]
    assert (base["images"], other["images"], other["common_images"]) == (IMAGES, 9, 9)
    assert any("9 images against 10" in note and "9 that both" in note for note in found["notes"])
    images = read_images(Path("results/base/scores/initial_labels.images.csv"), 3)
    ids = read_images(Path("results/other/scores/initial_labels.images.csv"), 3)
    [common] = resample({i: images[i] for i in ids}, 3, 1)[0].mious(as_background=True)
    difference = other["miou_255_as_background"] - common
    assert other["difference_255_as_background"] == pytest.approx(difference)
    assert any(row["setting"] == "train images" for row in found["settings"])


def test_settings_that_differ(project):
    found = compared("base", "worse", "other")
    names = ["results/base", "results/worse", "results/other"]
    rows = {row["setting"]: row for row in found["settings"]}
    assert rows["settings.conflict_threshold"] == {
        "stages": ["labels/initial"],
        "setting": "settings.conflict_threshold",
        "values": dict(zip(names, [0.9, 0.8, 0.9], strict=True)),
    }
    assert list(rows["settings.limit"]["values"].values()) == [None, None, 9]
    base, worse, other = rows["train images"]["values"].values()
    assert base == worse != other and base.startswith("10 (digest ")
    assert set(rows) == {"settings.conflict_threshold", "settings.limit", "train images"}


def test_what_differs_in_several_stages_is_one_row(project):
    for path in Path("results/worse").rglob("*.json"):
        content = read_json(path)
        content["provenance"]["versions"]["torch"] = "0.1"
        write_json(path, content)
    experiments = read_experiments([Path("results/base"), Path("results/worse")])
    rows = differing_settings(experiments, ["initial_labels"])
    [row] = [row for row in rows if row["setting"] == "versions.torch"]
    assert len(row["stages"]) > 3 and row["values"]["results/worse"] == "0.1"


def test_settings_that_changed_without_the_scores_are_compared_again(project):
    compared("base", "worse")
    change_score("worse", lambda content: content["provenance"].update(seed=3))
    rows = compared("base", "worse")["settings"]
    [row] = [row for row in rows if row["setting"] == "seed"]
    assert row["values"] == {"results/base": None, "results/worse": 3}


def test_a_stage_that_one_did_without(project):
    def forget_labels(content):
        inputs = content["provenance"]["inputs"]
        content["provenance"]["inputs"] = {k: v for k, v in inputs.items() if "labels" not in k}

    change_score("worse", forget_labels)
    rows = compared("base", "worse")["settings"]
    [row] = [row for row in rows if "labels/initial" in row["stages"]]
    assert row["setting"] == "used"
    assert row["values"] == {"results/base": True, "results/worse": None}


def test_outputs(project):
    compared("base", "worse", "other")
    table, html, drawing = (
        (Path("compare") / OUTPUTS[key]).read_text() for key in ("table", "html", "figure")
    )
    for text in (table, html):
        assert "conflict_threshold" in text and "lower" in text
        assert "9 images against 10" in text
    assert "initial_labels" in drawing and "<dc:date>" not in drawing
    assert "<svg" in html and "<?xml" not in html
    for name in OUTPUTS.values():
        facts = read_provenance(Path("compare") / name)
        assert facts["script"] == "compare"
        assert facts["settings"]["bootstrap"] == 200
        assert len(facts["inputs"]) == 6
    digests = [digest_file(Path("compare") / name) for name in OUTPUTS.values()]
    compared("base", "worse", "other")
    # The JSON tells when it was made; everything else is the same each time.
    assert digests[1:] == [digest_file(Path("compare") / name) for name in OUTPUTS.values()][1:]


def test_other_masks_are_noted(project):
    path = Path("results/worse/scores/initial_labels.images.csv")
    path.write_text(path.read_text().replace(":32:", ":31:"))
    notes = " ".join(compared("base", "worse")["notes"])
    assert "the ground truth of 10 common images differs" in notes


def test_no_common_image(project):
    path = Path("results/worse/scores/initial_labels.images.csv")
    path.write_text(path.read_text().replace("a", "b"))
    row = compared("base", "worse")["results"][1]
    keys = ("common_images", "difference_255_as_background", "differs_255_as_background")
    assert [row[key] for key in keys] == [0, None, ""]


def test_nothing_measured_is_not_compared(project):
    change_score("other", lambda content: content.update(miou=None, miou_interval=None))
    with pytest.raises(InputError, match=r"(?s)base has scores .*results/other has no score of in"):
        compared("base", "worse", "other")
    second = {name: Path(f"results/{name}/scores/cam.json") for name in ("base", "worse", "other")}
    for name, path in second.items():
        shutil.copy(f"results/{name}/scores/initial_labels.json", path)
        shutil.copy(
            f"results/{name}/scores/initial_labels.images.csv", path.with_suffix(".images.csv")
        )
        write_json(path, {**read_json(path), "stage": "cam", "miou": 0.5})
    found = compared("base", "worse", "other")
    assert {row["stage"] for row in found["results"]} == {"cam"}
    assert any("results/other has no score of initial_labels" in note for note in found["notes"])


def test_what_is_missing_has_a_command(project):
    for name in ("initial_labels.json", "initial_labels.images.csv"):
        shutil.copy(
            f"results/base/scores/{name}",
            f"results/base/scores/{name.replace('initial_labels', 'cam')}",
        )
    path = Path("results/base/scores/cam.json")
    write_json(path, {**read_json(path), "stage": "cam"})
    found = compared("base", "worse")
    assert {row["stage"] for row in found["results"]} == {"initial_labels"}
    assert found["notes"][:3] == [
        "results/base has scores of cam, initial_labels.",
        "results/worse has scores of initial_labels.",
        "results/worse has no score of cam, left out here; if it has masks, run: "
        "snakemake --cores all results/worse/scores/cam.json "
        "--configfile results/worse/config.yaml",
    ]
    table = (Path("compare") / OUTPUTS["table"]).read_text()
    assert found["notes"][2] in table


def test_the_command_for_a_copied_folder_names_the_copy(project):
    saved = Path("results/worse/config.yaml")
    saved.write_text("results: results\nexperiment: worse\n")
    score = "snakemake --cores all scores --configfile"
    assert make_command(Path("results/worse"), ["scores"]) == f"{score} {saved}"
    copy = Path(shutil.copytree("results/worse", "kept/best"))
    options = "--config results=kept experiment=best"
    assert make_command(copy, ["scores"]) == f"{score} {copy}/config.yaml {options}"


def test_a_score_of_before_its_masks_were_corrected_is_named(project):
    index = Path("results/worse/data/train.json")
    assert not outdated(Path("results/worse"), ["initial_labels"])
    content = read_json(index)
    content["images"][0]["mask_sha256"] = "0" * 64
    write_json(index, content)
    assert not outdated(Path("results/base"), ["initial_labels"])
    (note,) = outdated(Path("results/worse"), ["initial_labels"])
    score = "results/worse/scores/initial_labels.json"
    assert note.startswith(
        f"{score} is of before {index} changed: do not trust it; make it again: "
    )
    assert note in compared("base", "worse")["notes"]


def test_bad_input(project):
    base = Path("results/base")
    for folders in ([], [base], [base, base]):
        with pytest.raises(InputError, match="two or more different results folders"):
            read_experiments(folders)
    with pytest.raises(
        InputError, match=r"voc: no scores below it.* scores --configfile voc/config"
    ):
        read_experiments([base, Path("voc")])
    with pytest.raises(InputError, match=r"nosuch: no such folder below .*project; correct"):
        read_experiments([base, Path("nosuch")])
    path = Path("results/base/scores/initial_labels.json")
    whole = read_json(path)
    older = {name: value for name, value in whole.items() if "255_as" not in name}
    write_json(path, older)
    again = (
        r"older version may .* results/base/scores/initial_labels\.json --configfile results/base"
    )
    with pytest.raises(InputError, match=again):
        read_experiments([base, Path("results/worse")])
    write_json(path, whole)
    change_score("other", lambda content: content.update(iou={"background": 1.0, "bird": 1.0}))
    with pytest.raises(InputError, match=r"other.*are background, bird.*background, cat"):
        compared("base", "other")
    Path("results/worse/scores/initial_labels.images.csv").unlink()
    with pytest.raises(InputError, match=r"initial_labels\.images\.csv: missing"):
        compared("base", "worse")


def test_command_line(project):
    options = [
        word
        for key, name in OUTPUTS.items()
        for word in (f"--{key.replace('_', '-')}", f"out/{name}")
    ]
    script = [sys.executable, SCRIPT]

    def run(*folders):
        command = [*script, "--experiments", *folders, "--bootstrap", "50", *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run("results/base", "results/worse")
    assert done.returncode == 0, done.stderr
    assert all((Path("out") / name).is_file() for name in OUTPUTS.values())
    script.insert(1, "-Ximporttime")
    again = run("results/base", "results/worse")
    assert "already made" in again.stderr
    assert not [name for name in ("numpy", "matplotlib", "torch") if f" {name}\n" in again.stderr]
    failed = run()
    assert failed.returncode == 1
    assert "compare.experiments is []" in failed.stderr and "Traceback" not in failed.stderr
