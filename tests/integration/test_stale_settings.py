"""Every setting there is -> the files that another value of it makes stale, no more and no fewer.

Asked of Snakemake itself, on the finished demo, without what follows from there; that is run for
real in test_staleness.py.
"""

import re
import shutil
from typing import Any, get_args, get_origin

import pytest
import torch
import yaml
from pydantic import BaseModel
from safetensors.torch import load_file

from helpers.project import REDUCED, ROOT, Project, config_options, merge
from i2crc.config.load import load_config

TRAININGS = {"train_classifier", "train_segmentation"}
SEGMENTATION = {"train_segmentation", "fetch_checkpoint"}
NETWORKS = {*TRAININGS, "infer_cam", "predict", "classifier_quality"}
PREFLIGHTS = {"preflight", "preflight_published"}
# What preflight builds networks by.
BUILDING = ("backbone", "output_stride", "backbone_stage", "weights", "freeze_stages")
INDEXES = "prepare_data:data/(train|val)"
# The pages of the report that list the trainings; with one round there is no second one.
PAGES = {"front_page", "plot:^(?!report/training_final)", "score_table"}
# The beginning of a setting's name (the longest one counts) -> the rules that it makes stale, or
# `rule:pattern` for those of the rule's files in whose name this is found.
MAKES_STALE = {
    # By what it sets.
    "preset": {*TRAININGS, "crf", "fetch_checkpoint", INDEXES, "pack_model", *PREFLIGHTS},
    "seed": TRAININGS,
    "rounds": {"train_segmentation:segmentation/final", *PAGES},
    "deterministic": NETWORKS,
    "dataset": {INDEXES},
    "dataset.max_pixels": {INDEXES, "download_saliency"},
    "dataset.masks": {INDEXES, *PREFLIGHTS},
    "dataset.max_side": {INDEXES, "pack_model"},
    "dataset.trusted_masks": {"prepare_data:data/train"},
    "dataset.corrections": {"prepare_data:data/train"},
    "dataset.name": {"check_leaks", "pack_model"},
    "dataset.train_list": {"prepare_data:data/train"},
    "dataset.val_list": {"prepare_data:data/val"},
    "dataset.dev_list": {"preflight", "prepare_data:data/dev", "train_segmentation"},
    "dataset.test_list": {"preflight", "prepare_data:data/test"},
    "dataset.val_share": set(),  # read by list_data alone
    "dataset.split_seed": set(),
    "dataset.demo": {"render_demo"},
    "saliency": {"download_saliency"},
    "saliency.retries": set(),
    "saliency.model": set(),  # the demo's maps are given
    "classifier": {"train_classifier"},
    **{f"classifier.{n}": {"train_classifier", "preflight"} for n in BUILDING},
    **{f"classifier.head_{n}": {"train_classifier", "preflight"} for n in ("convs", "channels")},
    "classifier.weights": {"train_classifier", "preflight", "check_leaks"},
    "classifier.optimizer.name": {"train_classifier", "preflight"},
    "classifier.average_last": {"train_classifier", "preflight"},
    "cam": {"infer_cam"},
    "pseudo_labels": {"gen_gt", "sweep:_threshold", "sweep:salient_value"},
    "segmentation": SEGMENTATION,
    **{f"segmentation.{n}": {*SEGMENTATION, *PREFLIGHTS} for n in (*BUILDING, "aspp_rates")},
    "segmentation.weights": {*SEGMENTATION, *PREFLIGHTS, "check_leaks"},
    "segmentation.optimizer.name": {*SEGMENTATION, *PREFLIGHTS},
    "segmentation.average_last": {*SEGMENTATION, *PREFLIGHTS},
    "prediction": {"predict", "pack_model"},
    "prediction.scales": {"predict", "pack_model", *PREFLIGHTS},
    "crf": {"crf", "pack_model"},
    "crf.labels": {"crf", "pack_model", *PREFLIGHTS},
    "refinement": {"refine_labels"},
    "evaluation.cam_background": {"score:/cam.", "sweep:cam_background"},
    "evaluation.boundary_width": {"score"},
    "evaluation.bootstrap": {"score", "compare", "score_table", "front_page", "pack_model"},
    "evaluation.saliency_threshold": {"saliency_quality"},
    "evaluation.sweeps.cam_background": {"sweep:cam_background"},
    "evaluation.sweeps.attention_threshold": {"sweep:attention_threshold"},
    "evaluation.sweeps.conflict_threshold": {"sweep:conflict_threshold"},
    "evaluation.sweeps.object_threshold": {"sweep:object_threshold"},
    "evaluation.sweeps.salient_value": {"sweep:salient_value"},
    "evaluation.leak_images": {"train_segmentation"},  # which looks for leaks, and trains nothing
    "evaluation.allow_leaks": {"preflight", "train_segmentation"},
    "evaluation.sheet_images": {"contact_sheet"},
    "evaluation.submission": set(),  # read by voc_submission alone
    "compare": {"compare"},
    "ablation": set(),  # read by ablation alone
    "checkpoint": {"fetch_checkpoint"},
    "checkpoint.source": {"fetch_checkpoint", "preflight_published"},
    "runtime": set(),
}  # fmt: skip
# The report has a page of the settings that results depend on.
NOT_ON_THE_PAGE = ("runtime", "compare", "ablation", "saliency.retries")
# Another value, where one cannot be told from the type.
OTHER = {
    "dataset.classes": ["a", "b", "c", "d", "e", "f"],
    "dataset.limit": 5,
    "compare.experiments": ["results/copy", "results/demo"],
    "ablation.variants": {"smooth": {"crf": {"iterations": 5}}},
    "saliency.sha256": "0" * 64,
    "saliency.model.sha256": "0" * 64,
    "classifier.weights.sha256": "0" * 64,
    "segmentation.weights.sha256": "0" * 64,
    "checkpoint.sha256": "0" * 64,
    "classifier.backbone": "resnet18",
    "segmentation.backbone": "resnet18",
    "classifier.head_std": 0.02,
    "classifier.max_iterations": 7,
    "classifier.color_jitter": [0.1, 0.2, 0.3, 0.1],
    "segmentation.scales": [1.0, 0.5],
    "evaluation.sweeps.salient_value": [8, 16],
}


def leaves(value: BaseModel, above: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted name -> (type, value) of every setting below a section."""
    found = {}
    for key, field in type(value).model_fields.items():
        inner = getattr(value, key)
        if isinstance(inner, BaseModel):
            found |= leaves(inner, f"{above}{key}.")
        else:
            found[above + key] = (field.annotation, inner)
    return found


def another(name: str, kind: Any, value: Any) -> Any:
    """A valid value of a setting that is not the one it has."""
    if name in OTHER:
        return OTHER[name]
    options = [option for option in get_args(kind) if option is not type(None)]
    if options and get_origin(kind) is not list and not any(isinstance(o, type) for o in options):
        return next(option for option in options if option != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 or 0.5
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, list):
        return [*value[:-1], another(name, None, value[-1])] if value else ["x"]
    return 2 if int in options else 0.5


def nested(name: str, value: Any) -> dict:
    for key in reversed(name.split(".")):
        value = {key: value}
    return value


def longest(name: str) -> str:
    parts = name.split(".")
    beginnings = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next(beginning for beginning in beginnings if beginning in MAKES_STALE)


def expected(name: str, every: dict[str, set[str]]) -> dict[str, set[str]]:
    """Rule -> the files that another value of a setting makes stale."""
    found: dict[str, set[str]] = {}
    wanted = set(MAKES_STALE[longest(name)])
    if not name.startswith(NOT_ON_THE_PAGE):
        wanted.add("run_facts")
    for item in wanted:
        rule, _, pattern = item.partition(":")
        files = {file for file in every[rule] if re.search(pattern, file)}
        found.setdefault(rule, set()).update(files)
    return found


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory) -> Project:
    """A finished project that has also compared itself and fetched a checkpoint."""
    project = finished.copy(tmp_path_factory.mktemp("settings") / "project")
    shutil.copytree(project.results, project.results.with_name("copy"))
    state = load_file(project.results / "segmentation/final/weights.safetensors")
    torch.save(state, project.folder / "checkpoint.pth")
    done = project.snakemake(*TARGETS, settings=BELOW)
    assert done.returncode == 0, done.stdout + done.stderr
    return project


OTHER_LISTS = {"dev_list": "x", "test_list": "x"}
TARGETS = ["all", "compare", "results/demo/segmentation/published/weights.safetensors"]
BELOW = {
    "compare": {"experiments": ["results/demo", "results/copy"]},
    "checkpoint": {"source": "checkpoint.pth"},
}


def settings() -> dict[str, Any]:
    """Dotted name -> another value of every setting."""
    demo = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    found = leaves(load_config(merge(merge(demo, REDUCED), BELOW), "the demo"))
    # Of these, the results are elsewhere, or test_staleness.py has the row; nodes need SLURM.
    special = ("experiment", "results", "shards", "dataset.root", "segmentation.supervision")
    special += ("runtime.nodes", "saliency.source", "dataset.format")
    return {n: another(n, *facts) for n, facts in found.items() if n not in special}


def test_each_setting_has_a_row():
    assert {longest(name) for name in settings()} == set(MAKES_STALE)


@pytest.mark.exhaustive
@pytest.mark.parametrize("every_one", [False, True])
def test_a_setting_makes_stale_what_depends_on_it(project, every_one):
    """The first setting of each row, or all of them."""
    changes = settings()
    if not every_one:
        rows = {longest(name): name for name in reversed(changes)}
        changes = {name: changes[name] for name in rows.values()}
    commands = [
        [*TARGETS, *config_options(merge(BELOW, nested(name, value)))]
        for name, value in changes.items()
    ]
    every, current, *stale = project.looks(
        [
            *(target.replace("demo", "other") for target in TARGETS),
            *config_options({**BELOW, "experiment": "other", "dataset": OTHER_LISTS}),
        ],
        [*TARGETS, *config_options(BELOW)],
        *commands,
    )
    assert current == {}
    every = {
        rule: {file.removeprefix("results/other/") for file in files}
        for rule, files in every.items()
    }
    wrong = {}
    for name, files in zip(changes, stale, strict=True):
        if files != (right := expected(name, every)):
            wrong[name] = (changes[name], files, right)
    lines = [f"{n} = {v!r}\n   found    {f}\n   expected {r}" for n, (v, f, r) in wrong.items()]
    assert not wrong, "\n".join(lines)
