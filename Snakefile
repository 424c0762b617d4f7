# I2CRC, from image-level labels and saliency maps to a segmentation network.
#
# rules/ holds the stages in the order data flows; workflow_scripts/ the command line of each.
import os
from pathlib import Path

from snakemake.utils import min_version

min_version("9.12")

# A --configfile replaces the demo's settings instead of being merged into them.
if not workflow.overwrite_configfiles:

    configfile: os.path.relpath(Path(workflow.current_basedir, "config/config.yaml"))


report: "rules/report/workflow.rst"


include: "rules/pipeline.smk"
include: "rules/ablation.smk"
include: "rules/messages.smk"
include: "rules/run.smk"


# A target asks for everything on the way to it, so that what was deleted there is made again.
DATA = [
    *([rules.render_demo.output.manifest] if IS_DEMO else []),
    *expand(rules.prepare_data.output.index, split=CHECKED_SPLITS),
]
CAMS = [*DATA, *SALIENCY_MANIFESTS, *shards("cams")]
PSEUDO_LABELS = [*CAMS, *shards("labels/initial")]
INITIAL = [*PSEUDO_LABELS, *weights("initial")]
REFINED_LABELS = [*INITIAL, *predictions("initial", "train"), *shards("labels/refined")]
FINAL = [*(REFINED_LABELS if PSEUDO else DATA), *weights("final")]
ON_VAL = predictions("final", "val") if HAS_VAL else []
SCORES = [*FINAL, *ON_VAL, rules.score_table.output.markdown, rules.pack_model.output.model]


rule all:
    default_target: True
    input:
        SCORES,
        REPORT,


rule report:
    input:
        REPORT,


rule cams:
    input:
        CAMS,


rule pseudo_labels:
    input:
        PSEUDO_LABELS,


rule initial_segmentation:
    input:
        INITIAL,


rule refined_labels:
    input:
        REFINED_LABELS,


rule final_segmentation:
    input:
        FINAL,


rule scores:
    input:
        SCORES,


rule evaluate_checkpoint:
    input:
        f"{RESULTS}/scores/published_val_prediction.json",
        f"{RESULTS}/scores/published_val_crf.json",
