"""ablation.py: scores over seeds, differences to the base, minutes, table and page."""

import re
import runpy
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from helpers.experiment_tree import SCRIPTS, Tree, make_dataset
from i2crc.artifacts.lineage import trace
from i2crc.artifacts.provenance import provenance_file, read_provenance
from i2crc.artifacts.stages import STAGES
from i2crc.config.schema import Ablation, PseudoLabels
from i2crc.evaluation.ablation import minutes_behind, seeds_difference
from i2crc.evaluation.comparison import paired_difference
from i2crc.runtime.atomic import read_json, write_json
from i2crc.runtime.errors import InputError

SETTINGS = Ablation(
    seeds=[0, 1], variants={"loose": {"pseudo_labels": {"conflict_threshold": 0.8}}}
)
FOLDER = Path("results/ablation")
OUTPUTS = {
    "output_json": "ablation.json",
    "table": "table.md",
    "html": "ablation.html",
    "figure": "ablation.svg",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two variants with two seeds; `loose` misses more of every object."""
    folder = tmp_path_factory.mktemp("ablation")
    make_dataset(folder, 6)
    loose = PseudoLabels(conflict_threshold=0.8)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed in (0, 1):
            Tree(folder, f"ablation/base-{seed}", missed=(1, seed))
            Tree(folder, f"ablation/loose-{seed}", loose, missed=(2, 1 + seed))
        yield folder


def scores_of(name: str) -> Path:
    return FOLDER / name / "scores/initial_labels.json"


def compared(settings: Ablation = SETTINGS) -> dict:
    """The JSON of the ablation."""
    files = {key: FOLDER / name for key, name in OUTPUTS.items()}
    main = runpy.run_path(str(SCRIPTS / STAGES["ablation"].script))["main"]
    scores = sorted(FOLDER.glob("*-*/scores/*.json"))
    main(Namespace(settings=settings.model_dump_json(), scores=scores, bootstrap=200, **files))
    return read_json(files["output_json"])


def test_a_row_has_the_scores_of_every_seed_and_the_difference_of_the_means(project):
    base, loose = compared()["results"]
    for row in (base, loose):
        files = [read_json(scores_of(f"{row['variant']}-{seed}")) for seed in (0, 1)]
        for measure in ("miou", "miou_255_as_background", "miou_255_as_wrong", "coverage"):
            assert row[measure] == [one[measure] for one in files]
    assert "difference" not in base
    own, others = loose["miou_255_as_background"], base["miou_255_as_background"]
    changes = [mine - other for mine, other in zip(own, others, strict=True)]
    assert loose["seed_differences_255_as_background"] == pytest.approx(changes)
    assert loose["difference_255_as_background"] == pytest.approx(sum(changes) / 2)
    low, high = loose["difference_255_as_background_interval"]
    assert low < loose["difference_255_as_background"] < high < 0
    assert loose["differs_255_as_background"] == "lower"


def images_csv(name: str) -> Path:
    return scores_of(name).with_suffix(".images.csv")


def test_with_one_seed_the_difference_is_that_of_a_comparison(project):
    pair = [images_csv("base-0"), images_csv("loose-0")]
    alone, _ = seeds_difference([pair], 3, 200)
    expected, _ = paired_difference(pair, 3, 200)
    assert expected.items() <= {**alone, "common_images": 6}.items()
    twice, _ = seeds_difference([pair, pair], 3, 200)
    assert {key: twice[key] for key in expected if key != "common_images"} == {
        key: value for key, value in expected.items() if key != "common_images"
    }


def test_the_interval_covers_what_seeds_change(project):
    """One seed gains as much as another loses: the images alone would say that nothing differs."""
    pairs = [["base-0", "loose-0"], ["loose-0", "base-0"]]
    files = [[images_csv(name) for name in pair] for pair in pairs]
    found, _ = seeds_difference(files, 3, 400)
    low, high = found["difference_255_as_background_interval"]
    one, other = found["seed_differences_255_as_background"]
    assert found["difference_255_as_background"] == pytest.approx(0)
    assert one == -other
    assert low <= min(one, other) * 0.5 and high >= max(one, other) * 0.5


def test_photographs_that_the_base_lacks_have_no_difference(project):
    before = {path: path.read_text() for path in map(images_csv, ("loose-0", "loose-1"))}
    for path, text in before.items():
        path.write_text(re.sub("^a", "b", text, flags=re.MULTILINE))
    row = compared()["results"][1]
    assert row["difference_255_as_background"] is None
    assert row["seed_differences_255_as_background"] == [None, None]
    assert "the same" not in (FOLDER / "table.md").read_text()
    for path, text in before.items():
        path.write_text(text)


def test_a_seed_without_common_photographs_is_left_out_of_the_difference(project):
    """A mean over both seeds would be no number."""
    files = [
        [images_csv(name) for name in pair] for pair in (["base-0", "loose-0"], ["base-1"] * 2)
    ]
    files[1][1] = project / "other.csv"
    files[1][1].write_text(re.sub("^a", "b", files[1][0].read_text(), flags=re.MULTILINE))
    found, notes = seeds_difference(files, 3, 200)
    alone, _ = seeds_difference(files[:1], 3, 200)
    of_seeds = found.pop("seed_differences_255_as_background")
    assert of_seeds == [alone["difference_255_as_background"], None]
    assert {key: found[key] for key in alone if not key.startswith("seed_")} == {
        key: value for key, value in alone.items() if not key.startswith("seed_")
    }
    assert "the mean difference leaves out 1 of 2 seeds, which have no common images." in notes


def test_minutes_are_those_of_all_jobs_behind_a_score_once_each(project):
    """Each of them takes a second here, but shard 1 of gen_gt, which takes ten minutes more."""
    score = scores_of("base-0")
    before = {}
    for number, artifact in enumerate(trace(score)):
        place = artifact.path if artifact.path.suffix == ".json" else provenance_file(artifact.path)
        before[place] = place.read_text()
        content = read_json(place)
        facts = content.get("provenance", content)
        # The index and its shards are of one job.
        begin = 0 if artifact.script == "prepare_data" else number
        facts |= {"seconds": 1.0, "start": f"2026-01-01T00:00:{begin:02}+00:00"}
        facts["seconds"] += 600 * (
            place == (FOLDER / "base-0/labels/initial/1-of-2.json").resolve()
        )
        write_json(place, content)
    jobs = ["prepare_data", "download_saliency", "train_classifier", "score"]
    jobs += ["infer_cam", "gen_gt"] * 2  # two shards
    assert minutes_behind(score) == pytest.approx(10 + len(jobs) / 60)
    assert compared()["results"][0]["minutes"][0] == pytest.approx(10 + len(jobs) / 60)
    for place, text in before.items():
        place.write_text(text)


def test_table_and_page_name_the_variants_and_what_they_change(project):
    row = compared()["results"][1]
    mean = np.mean(row["miou_255_as_background"])
    for name in ("table.md", "ablation.html"):
        text = (FOLDER / name).read_text()
        assert "conflict_threshold" in text and f"{mean:.3f} (" in text, name
        assert f"{row['difference_255_as_background']:+.3f} (" in text
    assert "loose" in (FOLDER / "ablation.svg").read_text()
    assert read_provenance(FOLDER / "ablation.json")["script"] == "ablation"


def test_scores_of_other_classes_are_refused(project):
    path = scores_of("loose-0")
    content = read_json(path)
    write_json(path, {**content, "iou": {**content["iou"], "cow": 0.0}})
    with pytest.raises(InputError, match="a variant must keep the classes"):
        compared()
    write_json(path, content)


def test_a_variant_without_a_stage_has_no_row_of_it(project):
    """Such as a network that is trained on masks, which has no labels."""
    moved = {path: path.with_suffix(".away") for path in FOLDER.glob("loose-*/scores/*.json")}
    for path, away in moved.items():
        path.rename(away)
    assert [row["variant"] for row in compared()["results"]] == ["base"]
    for path, away in moved.items():
        away.rename(path)
