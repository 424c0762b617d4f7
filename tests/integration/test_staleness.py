"""What was changed -> the jobs that run again, no more and no fewer. Every row is run for real.

What each single setting makes stale is in test_stale_settings.py, what each part of the code does,
in test_stale_code.py; here is what follows from there. Changes that nothing connects share a run.
Before a run the target `status` is asked, and has to have foretold it.
"""

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from i2crc.artifacts.manifest import read_manifests
from i2crc.data.index import shard_of
from i2crc.runtime.atomic import digest_file, read_json
from helpers.project import Project, config_options

SHARDS = 2
SCORES = {"score", "score_table", "plot_scores", "contact_sheet"}
FINAL = {"train_segmentation", "plot_training", "predict", "crf", *SCORES}
SWEEPS = {"sweep", "plot_sweeps"}
# What new predictions or labels of the first round change.
LABELS = {"refine_labels", *FINAL}
PER_IMAGE = {"infer_cam", "gen_gt", "predict", "crf", "refine_labels"}
# Settings -> the rules that run. The page of the settings (run_facts) is made anew each time.
ROWS = [
    ({"pseudo_labels": {"object_threshold": 0.05}}, {"gen_gt", *SWEEPS, *LABELS}),
    ({"crf": {"bilateral_weight": 9}}, LABELS),
    (
        {"evaluation": {"sheet_images": 2, "bootstrap": 50, "saliency_threshold": 0.9}},
        {*SCORES, "saliency_quality", "plot_quality"},
    ),
]
MORE_ROWS = [
    (
        {"classifier": {"epochs": 2}},
        {"train_classifier", "infer_cam", "gen_gt", "classifier_quality", "plot_quality",
         *SWEEPS, *LABELS},
    ),
    ({"cam": {"flip": False}}, {"infer_cam", "gen_gt", *SWEEPS, *LABELS}),
    ({"segmentation": {"iterations": 3}}, LABELS),
    ({"segmentation": {"supervision": "full"}}, {"preflight", *FINAL}),
    ({"refinement": {"min_foreground": 0.9}}, LABELS),
    ({"evaluation": {"sheet_images": 2}}, {"contact_sheet"}),
    ({"evaluation": {"bootstrap": 50}}, {"score", "score_table", "plot_scores"}),
    ({"evaluation": {"saliency_threshold": 0.9}}, {"saliency_quality", "plot_quality"}),
    ({"evaluation": {"cam_background": 0.9}}, {"score", "score_table", *SWEEPS}),
    ({"dataset": {"name": "other"}}, {"check_leaks"}),
    ({"evaluation": {"leak_images": 2}}, {"train_segmentation"}),
]  # fmt: skip


def execute(project: Project, *arguments: str, **settings) -> Counter:
    """Run a project with other settings; returns how many jobs each rule had."""
    done = project.snakemake(*arguments, settings=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    prefixes = ("rule ", "checkpoint ", "localrule ", "localcheckpoint ")
    lines = (done.stdout + done.stderr).splitlines()
    return Counter(
        line.split()[1].rstrip(":")
        for line in lines
        if line.startswith(prefixes) and line.split()[1] != "all:"
    )


def foretold(project: Project, **settings) -> Counter:
    """Run all of a project, after its target `status` has told what will run."""
    told = project.snakemake("status", settings=settings)
    assert told.returncode == 0, told.stdout + told.stderr
    words = {"current": set(), "stale": set(), "missing": set(), "may follow": set()}
    for line in told.stdout.splitlines():
        kind, _, rest = line.partition(": ")
        kind = kind.split(",")[0]
        if kind in words:
            names = rest.split(" (")[0] if kind in ("stale", "missing") else rest
            words[kind] |= set(names.split(", ")) - {"nothing"}
    ran = execute(project, **settings)
    stale = words["stale"] | words["missing"]
    assert stale <= set(ran), told.stdout
    assert set(ran) <= stale | words["may follow"], told.stdout
    assert not words["current"] & set(ran), told.stdout
    return ran


@pytest.mark.parametrize(
    ("settings", "rules"),
    [*ROWS, *(pytest.param(*row, marks=pytest.mark.exhaustive) for row in MORE_ROWS)],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_runs_its_stage_and_what_that_changes(copied, settings, rules):
    assert set(foretold(copied, **settings)) == rules | {"run_facts"}


def test_how_it_is_run_changes_nothing(copied):
    profile = copied.folder / "profiles/other"
    profile.mkdir()
    (profile / "profile.yaml").write_text("resources: [gpu=3]\nretries: 2\n")
    runtime = {"workers": 1, "log_seconds": 1, "checkpoint_seconds": 9, "gpus": 2}
    ways = [
        ["--cores", "1"],
        ["--resources", "gpu=0"],
        ["--resources", "gpu=2"],
        ["--verbose"],
        ["--quiet", "all"],
        ["--workflow-profile", "profiles/other"],
        ["--workflow-profile", "none"],
        ["--config", *config_options({"runtime": runtime})[1:]],
    ]
    default = config_options()
    looks = copied.looks(*([*w, *(default if "--config" not in w else [])] for w in ways))
    assert looks == [{}] * len(ways)
    assert not execute(copied, "--resources", "gpu=0", "--cores", "1", runtime=runtime)
    assert not execute(copied, "--workflow-profile", "none")


def test_time_stamps_change_nothing(copied):
    for path in copied.folder.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            path.touch()
    assert not foretold(copied)


def test_another_branch_and_back_changes_nothing(copied):
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=copied.folder, check=True)

    git("init", "-q", "-b", "one")
    git("add", "workflow_scripts", "rules", "Snakefile", "config")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "two")
    module = copied.folder / "workflow_scripts/i2crc/pseudo_labels.py"
    module.write_text(module.read_text().replace("argmax", "argmin"))
    git("commit", "-qam", "two")
    git("checkout", "-q", "one")
    assert not execute(copied)


def test_a_comment_changes_nothing_and_code_what_runs_it(copied):
    module = copied.folder / "workflow_scripts/i2crc/dense_crf.py"
    original = module.read_text()
    module.write_text("# A remark.\n" + original.replace(" = ", "  =  "))
    rules = copied.folder / "rules/segmentation.smk"
    rules.write_text("# A remark.\n" + rules.read_text())
    assert not execute(copied)
    module.write_text(original.replace("clamp(1e-5, 1)", "clamp(1e-5, 1.0)"))
    # The logits again, which were gone, and the same pixels: nothing follows.
    assert foretold(copied) == {"predict": 2 * SHARDS, "crf": 2 * SHARDS}


def test_files_changed_by_hand_are_made_again_alone(copied):
    """Of every stage an edited, an emptied and a deleted image, and a deleted manifest."""
    stages = {
        "infer_cam": ["cams"],
        "gen_gt": ["labels/initial"],
        "predict": ["predictions/initial/train", "predictions/final/val"],
        "crf": ["crf/initial/train", "crf/final/val"],
        "refine_labels": ["labels/refined"],
        "download_saliency": ["saliency"],
    }
    expected, before = Counter(), {}
    for rule, folders in stages.items():
        for folder in folders:
            manifests = sorted((copied.results / folder).glob("*.json"))
            files = [{p: None for p, _ in read_manifests([m]).values()} for m in manifests]
            images = [p for shard in files for p in shard if p.suffix == ".png"]
            before |= {path: path.read_bytes() for path in images}
            images[0].write_bytes(before[images[0]] + b"x")
            images[1].write_bytes(b"")
            images[-1].unlink()
            manifests[0].unlink()
            damaged = {images[0], images[1], images[-1]}
            expected[rule] += sum(n == 0 or bool(damaged & {*f}) for n, f in enumerate(files))
    assert foretold(copied) == expected
    assert {path: path.read_bytes() for path in before} == before
    assert not execute(copied)


@pytest.mark.exhaustive
def test_weights_changed_by_hand_are_what_was_trained_again(copied):
    classifier = copied.results / "classifier/weights.safetensors"
    final = copied.results / "segmentation/final/weights.safetensors"
    initial = copied.results / "segmentation/initial/history.csv"
    before = {path: digest_file(path) for path in (classifier, final, initial)}
    shutil.rmtree(copied.results / "segmentation/final/run")
    assert not execute(copied)  # what is finished needs its run folder no more
    classifier.write_bytes(classifier.read_bytes()[:-1])
    final.unlink()
    initial.unlink()
    assert foretold(copied) == {"train_classifier": 1, "train_segmentation": 2}
    assert {path: digest_file(path) for path in before} == before


@pytest.mark.exhaustive
def test_another_number_of_shards_trains_nothing(copied):
    ran = foretold(copied, shards=3)
    assert set(ran) == {"prepare_data", *PER_IMAGE, "run_facts", "contact_sheet"}


@pytest.mark.exhaustive
def test_a_target_alone_and_a_touch_lose_nothing(copied):
    final = copied.results / "segmentation/final/weights.safetensors"
    before = final.read_bytes()
    changed = {"pseudo_labels": {"object_threshold": 0.05}}
    assert execute(copied, "pseudo_labels", **changed) == {"gen_gt": SHARDS}
    assert execute(copied, "--until", "gen_gt") == {"gen_gt": SHARDS}
    assert final.read_bytes() == before
    assert not execute(copied)
    execute(copied, "--touch", **changed)
    assert final.read_bytes() == before


@pytest.mark.exhaustive
def test_moved_without_records_nothing_is_believed_and_nothing_computed_again(copied):
    moved = copied.folder.with_name("moved")
    copied.folder.rename(moved)
    copied.folder, copied.results = moved, moved / "results/demo"
    assert not execute(copied)  # the whole project: nothing
    (moved / "results").rename(moved / "elsewhere")
    elsewhere = {"results": "elsewhere"}
    refused = copied.snakemake(settings=elsewhere)
    assert refused.returncode != 0
    assert "Run once with --forceall" in refused.stdout + refused.stderr
    files = [p for p in (moved / "elsewhere").rglob("*") if p.suffix in (".png", ".safetensors")]
    before = {path: digest_file(path) for path in files}
    done = copied.snakemake("--forceall", settings=elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("already trained") == 3
    assert {path: digest_file(path) for path in files} == before
    assert not execute(copied, **elsewhere)
    shutil.rmtree(moved / ".snakemake")
    for target in ("all", "status"):
        refused = copied.snakemake(target, settings=elsewhere)
        assert refused.returncode != 0
        assert "Run once with --forceall" in refused.stdout + refused.stderr


@pytest.mark.exhaustive
def test_status_tells_what_is_stale_and_why(copied):
    (copied.results / "cams/1-of-2.json").unlink()
    module = copied.folder / "workflow_scripts/i2crc/dense_crf.py"
    module.write_text(module.read_text().replace("clamp(1e-5, 1)", "clamp(1e-5, 1.0)"))
    changed = {"pseudo_labels": {"conflict_threshold": 0.8}, "experiment": "demo"}
    done = copied.snakemake("status", settings=changed)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line.partition(" (")[0]: line for line in done.stdout.splitlines()}
    assert "pseudo_labels.conflict_threshold was 0.9, is 0.8" in lines["stale: gen_gt"]
    assert "its code changed" in lines["stale: crf"]
    assert "what is left of it will be used" in lines["missing: infer_cam"]
    current = next(line for line in done.stdout.splitlines() if line.startswith("current:"))
    assert "train_classifier" in current
    assert not {"gen_gt", "infer_cam", "crf", "train_segmentation"} & {*current.split(", ")}


class Photographs:
    """A finished project on a folder of photographs, as a user has one."""

    def __init__(self, project: Project) -> None:
        self.project, self.results = project, project.results
        self.root = project.folder / "photographs"

    def run(self, *arguments: str) -> Counter:
        if arguments:
            return execute(self.project, *arguments, dataset={"root": "photographs"})
        return foretold(self.project, dataset={"root": "photographs"})

    def stale(self) -> dict[str, set[str]]:
        [found] = self.project.looks(config_options({"dataset": {"root": "photographs"}}))
        return found

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
    ran = photographs.run()
    assert ran == {"prepare_data": 2, "download_saliency": 1, "preflight": 1, "run_facts": 1}
    return photographs


@pytest.mark.exhaustive
def test_what_no_list_names_changes_nothing(photographs):
    for folder, suffix in (
        ("JPEGImages", ".jpg"),
        ("SegmentationClassAug", ".png"),
        ("saliency", ".png"),
    ):
        Image.new("L", (8, 8)).save(photographs.root / folder / f"unlisted{suffix}")
    assert photographs.stale() == {}


@pytest.mark.exhaustive
def test_a_problem_that_was_mended_trains_nothing(photographs):
    mask = sorted((photographs.root / "SegmentationClassAug").glob("*train*"))[0]
    content = mask.read_bytes()
    mask.write_bytes(b"junk")
    done = photographs.project.snakemake(settings={"dataset": {"root": "photographs"}})
    assert done.returncode != 0
    assert "1 problem to mend before the run can start" in done.stdout + done.stderr
    mask.write_bytes(content)
    ran = photographs.run()
    assert set(ran) == {"prepare_data", "download_saliency", "check_leaks", "preflight"}
    assert not photographs.run()


@pytest.mark.exhaustive
def test_the_order_of_a_list_changes_nothing_that_is_made_of_it(photographs):
    file = photographs.root / "train_cls.txt"
    file.write_text("\n".join(reversed(file.read_text().splitlines())) + "\n")
    assert photographs.run() == {"prepare_data": 1}


@pytest.mark.exhaustive
def test_a_mask_of_val_runs_the_scores_of_val_alone(photographs):
    first = photographs.ids("val")[0]
    mask = photographs.root / f"SegmentationClassAug/{first}.png"
    Image.new("L", (64, 64), 1).save(mask)
    assert photographs.stale() == {
        "prepare_data": {"data/val.json", *(f"data/val/{n}-of-2.json" for n in (1, 2))},
        "score": {
            f"scores/val_{kind}.{end}"
            for kind in ("prediction", "crf")
            for end in ("json", "images.csv")
        },
        "contact_sheet": {f"report/sheets/val_{kind}.png" for kind in ("best", "median", "worst")},
    }
    ran = photographs.run()
    assert set(ran) == {"prepare_data", *SCORES, "run_facts"}
    assert (ran["prepare_data"], ran["score"], ran["contact_sheet"]) == (1, 2, 3)


@pytest.mark.exhaustive
def test_images_of_val_run_the_shards_that_they_are_in(photographs):
    """One replaced, one removed, one added, one relabelled, all of the first shard."""
    first = [i for i in photographs.ids("val") if shard_of(i, SHARDS) == 0]
    replaced, removed = first[:2]
    Image.new("RGB", (64, 64), "red").save(photographs.photograph(replaced))
    added = next(f"added{n}" for n in range(9) if shard_of(f"added{n}", SHARDS) == 0)
    Image.new("RGB", (64, 64), "blue").save(photographs.photograph(added))
    file = photographs.root / "val_cls.txt"
    lines = [line for line in file.read_text().splitlines() if line.split()[0] != removed]
    file.write_text("\n".join([*lines, f"{added} 0"]) + "\n")
    ran = photographs.run()
    assert {rule: ran[rule] for rule in ("prepare_data", "check_leaks", "predict", "crf")} == {
        "prepare_data": 1, "check_leaks": 1, "predict": 1, "crf": 1,
    }  # fmt: skip
    assert not set(ran) - {
        "prepare_data", "check_leaks", "preflight", "predict", "crf", "classifier_quality",
        "plot_quality", *SCORES, "run_facts",
    }  # fmt: skip


@pytest.mark.exhaustive
def test_a_saliency_map_trains_again(photographs):
    file = photographs.root / f"saliency/{photographs.ids('train')[0]}.png"
    Image.new("L", (64, 64), 255).save(file)
    ran = photographs.run("cams")
    once = dict.fromkeys(("download_saliency", "preflight", "train_classifier"), 1)
    assert ran == {**once, "infer_cam": SHARDS}


@pytest.mark.exhaustive
def test_images_of_train_train_again(photographs):
    """One replaced, one relabelled."""
    replaced, relabelled = photographs.ids("train")[:2]
    Image.new("RGB", (64, 64), "green").save(photographs.photograph(replaced))
    file = photographs.root / "train_cls.txt"
    lines = [line.split() for line in file.read_text().splitlines()]
    file.write_text("\n".join(f"{i} {'3' if i == relabelled else ' '.join(c)}" for i, *c in lines))
    ran = photographs.run("cams")
    once = dict.fromkeys(
        ("prepare_data", "check_leaks", "download_saliency", "preflight", "train_classifier"), 1
    )
    assert ran == {**once, "infer_cam": SHARDS}
    assert not photographs.run("cams")
