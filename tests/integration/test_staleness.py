"""What was changed -> what a dry run lists, and which of the stages that start compute.

Snakemake lists a stage that changed and everything after it. A stage that starts and finds its work
done computes nothing. Every row is run for real.
"""

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from helpers.project import Project
from i2crc.artifacts.manifest import read_manifests
from i2crc.data.index import shard_of
from i2crc.runtime.atomic import digest_file, read_json

SHARDS = 2  # of the photographs
# What reads the pixels of the last stages, or their scores.
PICTURES = {
    "score", "score_table", "front_page", "plot", "contact_sheet", "run_facts", "pack_model",
}  # fmt: skip
TRAINED = {"train_segmentation", "predict", "crf"}
LABELS = {"refine_labels", "gallery", *TRAINED, *PICTURES}
SWEEPS = {"sweep", "plot"}
# Settings -> the stages that compute. Those that a dry run lists are these and what follows them.
ROWS = [
    (
        {"evaluation": {"cam_background": 0.9}},
        {"score", "score_table", "front_page", *SWEEPS, "run_facts"},
    ),
]
MORE_ROWS = [
    ({"crf": {"bilateral_weight": 9}}, LABELS),
    (
        {"classifier": {"epochs": 2}},
        {"train_classifier", "infer_cam", "gen_gt", "classifier_quality",
         *SWEEPS, *LABELS},
    ),
    ({"cam": {"flip": False}}, {"infer_cam", "gen_gt", *SWEEPS, *LABELS}),
    ({"segmentation": {"iterations": 3}}, LABELS),
    ({"segmentation": {"supervision": "full"}}, {"preflight", *TRAINED, *PICTURES}),
    ({"pseudo_labels": {"object_threshold": 0.05}}, {"gen_gt", *SWEEPS, *LABELS}),
    ({"evaluation": {"sheet_images": 2}}, {"contact_sheet", "run_facts"}),
    ({"evaluation": {"bootstrap": 50}}, PICTURES - {"contact_sheet"}),
    (
        {"refinement": {"min_foreground": 0.9}, "evaluation": {"saliency_threshold": 0.9}},
        {*LABELS, "saliency_quality"},
    ),
    ({"dataset": {"name": "other"}}, {"check_leaks", "pack_model", "run_facts"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "rules"),
    [*ROWS, *(pytest.param(*row, marks=pytest.mark.exhaustive) for row in MORE_ROWS)],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_computes_its_stage_and_what_that_changes(copied, settings, rules):
    planned = copied.planned(settings=settings)
    run = copied.run(settings=settings)
    assert set(run.computed) == rules
    assert set(run.started) == planned >= rules
    assert copied.planned(settings=settings) == set()


def test_a_changed_setting_lists_everything_after_it(finished):
    assert finished.planned(settings={"crf": {"iterations": 2}}) == LABELS
    assert finished.planned(settings={"evaluation": {"sheet_images": 2}}) == {
        "contact_sheet",
        "run_facts",
    }
    assert "train_classifier" in finished.planned(settings={"classifier": {"epochs": 2}})


def test_how_it_is_run_is_not_even_listed(copied):
    profile = copied.folder / "profiles/other"
    profile.mkdir()
    (profile / "profile.yaml").write_text(
        "resources: [gpu=3]\nretries: 2\nmax-checksum-file-size: 1000000000\n"
    )
    runtime = {"workers": 1, "log_seconds": 1, "checkpoint_seconds": 9, "gpus": 2,
               "crf_on_gpu": True, "training_threads": 2, "inference_threads": 2}  # fmt: skip
    assert copied.planned("--cores", "1", "--resources", "gpu=2") == set()
    assert copied.planned("--workflow-profile", "profiles/other") == set()
    assert copied.planned(settings={"runtime": runtime}) == set()


def test_time_stamps_change_nothing(copied):
    for path in copied.folder.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            path.touch()
    assert copied.planned() == set()


def test_another_branch_and_back_changes_nothing(copied):
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=copied.folder, check=True)

    git("init", "-q", "-b", "one")
    git("add", "workflow_scripts", "rules", "Snakefile", "config")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "two")
    module = copied.folder / "workflow_scripts/i2crc/labels/pseudo_labels.py"
    module.write_text(module.read_text().replace("strongest(channels)", "strongest(-channels)"))
    git("commit", "-qam", "two")
    git("checkout", "-q", "one")
    assert copied.planned() == set()


@pytest.mark.exhaustive
def test_a_comment_changes_nothing_and_code_the_stages_that_run_it(copied):
    module = copied.folder / "workflow_scripts/i2crc/labels/dense_crf.py"
    original = module.read_text()
    module.write_text("# A remark.\n" + original.replace(" = ", "  =  "))
    rules = copied.folder / "rules/segmentation.smk"
    rules.write_text("# A remark.\n" + rules.read_text())
    assert copied.planned() == set()
    module.write_text(original.replace("clip(1e-5, 1)", "clip(1e-5, 1.0)"))
    assert copied.planned() == LABELS
    # The same pixels, so that nothing that follows computes.
    assert copied.run("refined_labels").computed == {"crf": 1}
    assert copied.run("scores").computed == {"crf": 1}


@pytest.mark.parametrize(
    "stages",
    [
        {
            "gen_gt": ["labels/initial"],
            "predict": ["predictions/final/val"],
            "crf": ["crf/final/val"],
        },
        pytest.param(
            {
                "download_saliency": ["saliency"],
                "infer_cam": ["cams"],
                "refine_labels": ["labels/refined"],
            },
            marks=pytest.mark.exhaustive,
        ),
    ],
    ids=["labels", "maps"],
)
def test_files_changed_by_hand_are_made_again_alone(copied, stages):
    """Of each stage an image of another size and a deleted one; deleted logits, a manifest."""
    before: dict[Path, bytes] = {}
    damaged: dict[str, int] = {}
    for rule, folders in stages.items():
        for folder in folders:
            manifests = sorted((copied.results / folder).glob("*.json"))
            shards = [[p for p, _ in read_manifests([m]).values()] for m in manifests]
            images = [path for shard in shards for path in shard if path.suffix == ".png"]
            before |= {path: path.read_bytes() for path in images}
            images[0].write_bytes(before[images[0]] + b"x")
            images[-1].unlink()
            damaged[rule] = damaged.get(rule, 0) + len(manifests)
            if rule == "crf":
                manifests[0].unlink()
    logits = sorted((copied.results / "predictions/final/val/logits/maps").glob("*.npz"))
    before[logits[0]] = logits[0].read_bytes()
    logits[0].unlink()
    run = copied.run("scores")
    assert {rule: run.computed[rule] for rule in damaged} == damaged
    assert {path: path.read_bytes() for path in before} == before
    assert not {"train_classifier", "train_segmentation", "score"} & set(run.computed)
    assert copied.planned("scores") == set()


@pytest.mark.exhaustive
def test_weights_changed_by_hand_are_put_back(copied):
    classifier = copied.results / "classifier/weights.safetensors"
    final = copied.results / "segmentation/final/weights.safetensors"
    initial = copied.results / "segmentation/initial/history.csv"
    before = {path: digest_file(path) for path in (classifier, final, initial)}
    classifier.write_bytes(classifier.read_bytes()[:-1])
    final.unlink()
    initial.unlink()
    run = copied.run()
    assert not {"train_classifier", "train_segmentation"} & set(run.computed)
    assert {path: digest_file(path) for path in before} == before
    shutil.rmtree(copied.results / "segmentation/final/run")
    assert copied.planned() == set()  # finished weights do not need their run folder


@pytest.mark.exhaustive
def test_a_target_alone_and_a_touch_lose_nothing(copied):
    final = copied.results / "segmentation/final/weights.safetensors"
    before = final.read_bytes()
    changed = {"pseudo_labels": {"object_threshold": 0.05}}
    assert copied.run("pseudo_labels", settings=changed).computed == {"gen_gt": 1}
    assert copied.run("pseudo_labels").computed == {"gen_gt": 1}
    assert final.read_bytes() == before
    copied.run("--touch", settings=changed)
    assert final.read_bytes() == before


def test_without_records_and_with_other_shards_nothing_is_computed_again(copied):
    """The folder .snakemake was deleted, the results were moved, and there are two shards."""
    moved = copied.folder.with_name("moved")
    copied.folder.rename(moved)
    copied.folder, copied.results = moved, moved / "elsewhere/demo"
    (moved / "results").rename(moved / "elsewhere")
    shutil.rmtree(moved / ".snakemake")
    elsewhere = {"results": "elsewhere", "shards": 2, "runtime": {"workers": 1}}
    found = copied.results.rglob("*")
    files = [p for p in found if p.is_file() and p.suffix in (".png", ".safetensors")]
    before = {path: digest_file(path) for path in files}
    run = copied.run("--forceall", "scores", settings=elsewhere)
    # Paths to the data set are new, so that what records them is made again.
    expensive = {"train_classifier", "infer_cam", "gen_gt", "train_segmentation", "predict", "crf"}
    assert not {*expensive, "refine_labels", "render_demo"} & set(run.computed)
    assert {path: digest_file(path) for path in files} == before
    assert copied.planned("scores", settings=elsewhere) == set()


class Photographs:
    """A finished project on a folder of photographs, as a user has one."""

    def __init__(self, project: Project) -> None:
        self.settings = {"dataset": {"root": "photographs"}, "shards": SHARDS}
        self.project, self.results = project, project.results
        self.root = project.folder / "photographs"

    def computed(self, *arguments: str) -> Counter:
        return self.project.run(*arguments, settings=self.settings).computed

    def ids(self, split: str) -> list[str]:
        return [entry["id"] for entry in read_json(self.results / f"data/{split}.json")["images"]]

    def photograph(self, image_id: str) -> Path:
        return self.root / f"JPEGImages/{image_id}.jpg"


@pytest.fixture(scope="module")
def photographs(finished, tmp_path_factory) -> Photographs:
    """The demo's images in a folder of their own: trained before, so nothing trains again."""
    project = finished.copy(tmp_path_factory.mktemp("photographs") / "project")
    photographs = Photographs(project)
    (project.results / "dataset").rename(photographs.root)
    shutil.copytree(project.results / "saliency/maps", photographs.root / "saliency")
    assert not set(photographs.computed("cams")) & {"train_classifier", "infer_cam"}
    return photographs


def test_touched_and_unlisted_photographs_compute_nothing(photographs):
    for folder in ("JPEGImages", "SegmentationClassAug", "saliency"):
        for path in (photographs.root / folder).iterdir():
            path.touch()
        suffix = ".jpg" if folder == "JPEGImages" else ".png"
        Image.new("L", (8, 8)).save(photographs.root / folder / f"unlisted{suffix}")
    assert set(photographs.computed("cams")) <= {"prepare_data", "download_saliency"}
    assert photographs.project.planned("cams", settings=photographs.settings) == set()


@pytest.mark.exhaustive
def test_a_problem_that_was_corrected_trains_nothing(photographs):
    mask = sorted((photographs.root / "SegmentationClassAug").glob("*train*"))[0]
    content = mask.read_bytes()
    mask.write_bytes(b"junk")
    done = photographs.project.snakemake(settings=photographs.settings)
    assert done.returncode != 0
    assert "1 problem to fix before the run can start" in done.stdout + done.stderr
    mask.write_bytes(content)
    computed = photographs.computed()
    assert not set(computed) & {"train_classifier", "infer_cam", "gen_gt", "train_segmentation"}
    assert photographs.project.planned(settings=photographs.settings) == set()


@pytest.mark.exhaustive
def test_the_order_of_a_list_changes_nothing_that_is_made_of_it(photographs):
    file = photographs.root / "train_cls.txt"
    file.write_text("\n".join(reversed(file.read_text().splitlines())) + "\n")
    assert set(photographs.computed()) <= {"prepare_data", "check_leaks", "preflight",
                                           "download_saliency", "run_facts"}  # fmt: skip


@pytest.mark.exhaustive
def test_a_mask_of_val_computes_the_scores_of_val_alone(photographs):
    first = photographs.ids("val")[0]
    mask = photographs.root / f"SegmentationClassAug/{first}.png"
    Image.new("L", (64, 64), 1).save(mask)
    computed = photographs.computed()
    assert (computed["score"], computed["contact_sheet"]) == (2, 1)
    assert set(computed) <= {"prepare_data", "check_leaks", "preflight", "classifier_quality",
                             *PICTURES}  # fmt: skip


@pytest.mark.exhaustive
def test_images_of_val_compute_the_shards_that_they_are_in(photographs):
    """One replaced, one removed, one added, one relabelled, all of the first shard."""
    first = [i for i in photographs.ids("val") if shard_of(i, SHARDS) == 0]
    replaced, removed = first[:2]
    Image.new("RGB", (64, 64), "red").save(photographs.photograph(replaced))
    added = next(f"added{n}" for n in range(9) if shard_of(f"added{n}", SHARDS) == 0)
    Image.new("RGB", (64, 64), "blue").save(photographs.photograph(added))
    file = photographs.root / "val_cls.txt"
    lines = [line for line in file.read_text().splitlines() if line.split()[0] != removed]
    file.write_text("\n".join([*lines, f"{added} 0"]) + "\n")
    computed = photographs.computed()
    assert {rule: computed[rule] for rule in ("predict", "crf")} == {"predict": 1, "crf": 1}
    assert not {"train_classifier", "infer_cam", "gen_gt", "train_segmentation"} & set(computed)


@pytest.mark.exhaustive
def test_a_saliency_map_trains_again(photographs):
    file = photographs.root / f"saliency/{photographs.ids('train')[0]}.png"
    Image.new("L", (64, 64), 255).save(file)
    computed = photographs.computed("cams")
    assert computed["train_classifier"] == 1
    assert computed["infer_cam"] == SHARDS


@pytest.mark.exhaustive
def test_images_of_train_train_again(photographs):
    """One replaced, one relabelled."""
    replaced, relabelled = photographs.ids("train")[:2]
    Image.new("RGB", (64, 64), "green").save(photographs.photograph(replaced))
    file = photographs.root / "train_cls.txt"
    lines = [line.split() for line in file.read_text().splitlines()]
    file.write_text("\n".join(f"{i} {'3' if i == relabelled else ' '.join(c)}" for i, *c in lines))
    computed = photographs.computed("cams")
    assert computed["train_classifier"] == 1
    assert computed["infer_cam"] == SHARDS
    assert not photographs.computed("cams")
