# I2CRC, from image-level labels and saliency maps to a segmentation network.
#
# rules/ holds the stages in the order data flows; workflow_scripts/ the command line of each.
from snakemake.utils import min_version

min_version("9.12")

# A --configfile replaces the demo's settings instead of being merged into them.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


report: "rules/report/workflow.rst"


include: "rules/common.smk"
include: "rules/cluster.smk"
include: "rules/data.smk"
include: "rules/classifier.smk"
include: "rules/labels.smk"
include: "rules/segmentation.smk"
include: "rules/evaluation.smk"
include: "rules/published.smk"
include: "rules/report.smk"
include: "rules/run.smk"


localrules:
    all,
    cams,
    pseudo_labels,
    initial_segmentation,
    refined_labels,
    final_segmentation,
    scores,
    report,
    evaluate_checkpoint,


rule all:
    default_target: True
    input:
        f"{RESULTS}/scores/table.md",
        REPORT,


rule report:
    input:
        REPORT,


rule cams:
    input:
        shards("cams"),


rule pseudo_labels:
    input:
        shards("labels/initial"),


rule initial_segmentation:
    input:
        f"{RESULTS}/segmentation/initial/weights.safetensors",


rule refined_labels:
    input:
        shards("labels/refined"),


rule final_segmentation:
    input:
        f"{RESULTS}/segmentation/final/weights.safetensors",


rule scores:
    input:
        rules.score_table.output.markdown,


rule evaluate_checkpoint:
    input:
        f"{RESULTS}/scores/published_val_prediction.json",
        f"{RESULTS}/scores/published_val_crf.json",
