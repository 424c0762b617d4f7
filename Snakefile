# I2CRC, from image-level labels and saliency maps to a segmentation network.
#
# rules/ holds the stages in the order data flows; workflow_scripts/ the command line of each.
from snakemake.utils import min_version

min_version("9.12")

# A --configfile replaces the demo's settings instead of being merged into them.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


report: "rules/report/workflow.rst"


# No time stamp makes a stage stale: rules/staleness.smk.
inputflags:
    ancient,


include: "rules/common.smk"
include: "rules/staleness.smk"
include: "rules/data.smk"
include: "rules/saliency.smk"
include: "rules/classifier.smk"
include: "rules/pseudo_labels.smk"
include: "rules/segmentation.smk"
include: "rules/evaluation.smk"
include: "rules/report.smk"


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
    status,


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


# Shown by `onsuccess`: for a `run:` block here, Snakemake would put the settings into a shell command.
rule status:
    input:
        [],


rule evaluate_checkpoint:
    input:
        f"{RESULTS}/scores/published_val_prediction.json",
        f"{RESULTS}/scores/published_val_crf.json",


onstart:
    if SLURM_IS_AWAY and workflow.executor_plugin.name == "slurm":
        raise WorkflowError(SLURM_IS_AWAY)
    require_writable(RESULTS, ", or choose another folder with the setting `results`")
    begin_run()
    CONTENTS.save()
    if not RECORDS_LOST:
        remember_run()


onerror:
    print_failure(log)


onsuccess:
    if RECORDS_LOST and targets() <= {"all"}:
        remember_run()
    if targets() == {"status"}:
        show_status()
    else:
        remove_used_logits()
        print_summary()
