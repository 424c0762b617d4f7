"""What was changed -> the rules that run again, no more and no fewer. Every row is run for real.

The rows share one project, and each starts from where the one before has left it.
"""

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from workflow.conftest import Project

SCORES = {"score", "score_table", "plot_scores", "contact_sheet"}
FINAL = {"train_segmentation", "plot_training", "predict", "crf", *SCORES}
SWEEPS = {"sweep", "plot_sweeps"}
# What new predictions or labels of the first round change.
LABELS = {"refine_labels", *FINAL}


class Edited:
    """A finished project that may be changed, and what each run of it executes."""

    def __init__(self, finished: Project, folder: Path) -> None:
        shutil.copytree(finished.folder, folder, symlinks=True)
        self.project = Project.__new__(Project)
        self.project.folder = folder
        self.folder, self.results = folder, folder / "results/demo"
        self.project.results = self.results

    def run(self, *arguments: str, **settings) -> Counter:
        """Run it with other settings; returns how many jobs each rule had."""
        done = self.project.snakemake(*arguments, settings=settings)
        assert done.returncode == 0, done.stdout + done.stderr
        prefixes = ("rule ", "checkpoint ", "localrule ", "localcheckpoint ")
        lines = (done.stdout + done.stderr).splitlines()
        return Counter(
            line.split()[1].rstrip(":")
            for line in lines
            if line.startswith(prefixes) and line.split()[1] != "all:"
        )


@pytest.fixture(scope="module")
def edited(finished, tmp_path_factory) -> Edited:
    project = Edited(finished, tmp_path_factory.mktemp("edited") / "project")
    assert not project.run()
    return project


def test_settings_run_their_stage_and_what_it_changes(edited):
    """A configured value of each stage, one after the other; the last run undoes them all.

    The report's page of settings is made anew each time.
    """
    rows = [
        (
            {"classifier": {"epochs": 2}},
            {"train_classifier", "infer_cam", "gen_gt", "classifier_quality", "plot_quality",
             *SWEEPS, *LABELS},
        ),
        ({"cam": {"flip": False}}, {"infer_cam", "gen_gt", *SWEEPS, *LABELS}),
        ({"pseudo_labels": {"object_threshold": 0.05}}, {"gen_gt", *SWEEPS, *LABELS}),
        ({"segmentation": {"iterations": 3}}, LABELS),
        ({"crf": {"bilateral_weight": 9}}, LABELS),
        ({"evaluation": {"sheet_images": 2}}, {"contact_sheet"}),
        ({"evaluation": {"bootstrap": 50}}, {"score", "score_table", "plot_scores"}),
        ({"evaluation": {"saliency_threshold": 0.9}}, {"saliency_quality", "plot_quality"}),
        ({"evaluation": {"cam_background": 0.9}}, {"score", "score_table", *SWEEPS}),
        ({"refinement": {"min_foreground": 0.9}}, LABELS),
    ]  # fmt: skip
    settings = {}
    for changed, rules in rows:
        for section, values in changed.items():
            settings[section] = {**settings.get(section, {}), **values}
        assert set(edited.run(**settings)) == rules | {"run_facts"}, changed
    edited.run()
    assert not edited.run()


def test_how_it_is_run_changes_nothing(edited):
    runtime = {"workers": 1, "log_seconds": 1, "checkpoint_seconds": 9, "gpus": 2}
    assert not edited.run("--resources", "gpu=0", "--cores", "1", runtime=runtime)


def test_time_stamps_change_nothing(edited):
    for path in edited.folder.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            path.touch()
    assert not edited.run()


def test_another_branch_and_back_changes_nothing(edited):
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=edited.folder, check=True)

    git("init", "-q", "-b", "one")
    git("add", "workflow_scripts", "rules", "Snakefile", "config")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "two")
    module = edited.folder / "workflow_scripts/i2crc/pseudo_labels.py"
    module.write_text(module.read_text().replace("argmax", "argmin"))
    git("commit", "-qam", "two")
    git("checkout", "-q", "one")
    assert not edited.run()


def test_a_comment_changes_nothing_and_code_what_runs_it(edited):
    module = edited.folder / "workflow_scripts/i2crc/dense_crf.py"
    original = module.read_text()
    module.write_text("# A remark.\n" + original.replace(" = ", "  =  "))
    assert not edited.run()
    module.write_text(original.replace("clamp(1e-5, 1)", "clamp(1e-5, 1.0)"))
    assert edited.run() == {"crf": 4}  # the same pixels: nothing follows
    module.write_text(original)
    assert edited.run() == {"crf": 4}


@pytest.mark.parametrize("how", ["edited", "emptied", "deleted"])
@pytest.mark.parametrize(
    ("folder", "rule"),
    [("cams/maps", "infer_cam"), ("labels/initial/images", "gen_gt"),
     ("crf/final/val/images", "crf"), ("labels/refined/images", "refine_labels")],
)  # fmt: skip
def test_an_image_changed_by_hand_is_made_again_alone(edited, folder, rule, how):
    image = sorted((edited.results / folder).glob("*.png"))[0]
    before = image.read_bytes()
    if how == "deleted":
        image.unlink()
    else:
        image.write_bytes(b"" if how == "emptied" else before + b"x")
    assert edited.run() == {rule: 1}
    assert image.read_bytes() == before


def test_a_lost_manifest_costs_a_look(edited):
    (edited.results / "cams/1-of-2.json").unlink()
    assert edited.run() == {"infer_cam": 1}


def test_another_number_of_shards_trains_nothing(edited):
    per_image = {"infer_cam", "gen_gt", "predict", "crf", "refine_labels"}
    ran = edited.run(shards=3)
    assert set(ran) == {
        "prepare_data",
        *per_image,
        "run_facts",
        "contact_sheet",
    }
    edited.run()
    assert not edited.run()


def test_without_snakemakes_records_nothing_is_believed_and_nothing_computed_again(edited):
    shutil.rmtree(edited.folder / ".snakemake")
    refused = edited.project.snakemake()
    assert refused.returncode != 0
    assert "Run once with --forceall" in refused.stdout + refused.stderr
    weights = edited.results / "segmentation/final/weights.safetensors"
    before = weights.read_bytes()
    done = edited.project.snakemake("--forceall")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("already trained") >= 3
    assert weights.read_bytes() == before
    assert not edited.run()


def test_a_moved_folder_changes_nothing(edited):
    moved = edited.folder.with_name("moved")
    edited.folder.rename(moved)
    edited.folder = edited.project.folder = moved
    edited.results = edited.project.results = moved / "results/demo"
    assert not edited.run()


def test_status_tells_what_is_stale_and_why(edited):
    done = edited.project.snakemake(
        "status", settings={"pseudo_labels": {"conflict_threshold": 0.8}}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stale: gen_gt (2 of 2 files): pseudo_labels.conflict_threshold was 0.9, is 0.8" in (
        done.stdout
    )
    current = next(line for line in done.stdout.splitlines() if line.startswith("current:"))
    assert "train_classifier" in current
    assert "gen_gt" not in current


@pytest.fixture(scope="module")
def photographs(finished, tmp_path_factory) -> Edited:
    """The same project on a folder of photographs, as a user has one."""
    project = Edited(finished, tmp_path_factory.mktemp("photographs") / "project")
    shutil.copytree(project.results / "dataset", project.folder / "photographs")
    shutil.copytree(project.results / "saliency/maps", project.folder / "photographs/saliency")
    assert project.run(dataset={"root": "photographs"}, experiment="photographs")
    return project


def rerun(photographs: Edited, *targets: str) -> Counter:
    root = {"root": "photographs"}
    return photographs.run(*targets, dataset=root, experiment="photographs")


def test_a_problem_that_was_mended_trains_nothing(photographs):
    mask = sorted((photographs.folder / "photographs/SegmentationClassAug").glob("*train*"))[0]
    content = mask.read_bytes()
    mask.write_bytes(b"junk")
    settings = {"dataset": {"root": "photographs"}, "experiment": "photographs"}
    done = photographs.project.snakemake(settings=settings)
    assert done.returncode != 0
    assert "1 problem to mend before the run can start" in done.stdout + done.stderr
    mask.write_bytes(content)
    ran = set(rerun(photographs))
    assert ran == {"prepare_data", "download_saliency", "check_leaks", "preflight"}
    assert not rerun(photographs)


def test_a_replaced_mask_of_val_runs_scores_alone(photographs):
    mask = sorted((photographs.folder / "photographs/SegmentationClassAug").glob("*val*"))[0]
    Image.new("L", (64, 64), 1).save(mask)
    ran = set(rerun(photographs))
    assert "score" in ran
    assert not ran & {"train_classifier", "train_segmentation", "predict", "crf", "gen_gt"}


def test_a_removed_val_image_trains_nothing(photographs):
    list_file = photographs.folder / "photographs/val_cls.txt"
    list_file.write_text("\n".join(list_file.read_text().splitlines()[1:]) + "\n")
    ran = set(rerun(photographs))
    assert {"prepare_data", "score"} <= ran
    assert not ran & {"train_classifier", "train_segmentation", "infer_cam", "gen_gt"}


def first_id(photographs: Edited) -> str:
    index = photographs.folder / "results/photographs/data/train.json"
    return json.loads(index.read_text())["images"][0]["id"]


def test_a_replaced_photograph_trains_again(photographs):
    file = photographs.folder / f"photographs/JPEGImages/{first_id(photographs)}.jpg"
    Image.new("RGB", (64, 64), "red").save(file)
    ran = rerun(photographs, "cams")
    assert {"prepare_data", "train_classifier", "infer_cam"} <= set(ran)
    assert not rerun(photographs, "cams")


def test_a_replaced_saliency_map_trains_again(photographs):
    file = photographs.folder / f"photographs/saliency/{first_id(photographs)}.png"
    Image.new("L", (64, 64), 255).save(file)
    ran = set(rerun(photographs, "cams"))
    assert ran == {"download_saliency", "preflight", "train_classifier", "infer_cam"}
    assert not rerun(photographs, "cams")
