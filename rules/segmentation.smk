# The segmentation network, its predictions and their CRF: the same rules for every round.
#
# initial: trained on the initial labels, predicts train_aug. final: trained on the refined labels,
# predicts val. published: a checkpoint from elsewhere (rules/evaluation.smk).
import shutil

from i2crc.provenance import content_digest, read_provenance

LABELS_OF_ROUND = {"initial": "labels/initial", "final": "labels/refined"}


checkpoint train_segmentation:
    input:
        index=f"{RESULTS}/data/train.json",
        labels=lambda wildcards: shards(LABELS_OF_ROUND[wildcards.round]) if PSEUDO else [],
        preflight=PREFLIGHT,
    output:
        weights=f"{RESULTS}/segmentation/{{round}}/weights.safetensors",
        history=f"{RESULTS}/segmentation/{{round}}/history.csv",
    log:
        f"{RESULTS}/logs/train_segmentation/{{round}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_segmentation/{{round}}.tsv"
    wildcard_constraints:
        round="initial|final",
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.training_threads
    resources:
        **several_nodes(),
        gpu=RUNTIME.gpus,
        runtime_settings=RUNTIME.model_dump_json(),
    params:
        settings=section("segmentation"),
        weight_file=weight_file(CONFIG.segmentation.weights),
        masks="" if PSEUDO else masks("train_segmentation"),
        # Labels that were made are searched for leaks; a network that saw masks names their set.
        leaks=(
            f"--leak-images {CONFIG.evaluation.leak_images}"
            + (" --allow-leaks" if CONFIG.evaluation.allow_leaks else "")
            if PSEUDO
            else ""
        ),
        dataset_name="" if PSEUDO else CONFIG.dataset.name,
        seed=f"--seed {CONFIG.seed}",
        deterministic=DETERMINISTIC,
        run=f"{RESULTS}/segmentation/{{round}}/run",
        code=code("train_segmentation"),
        content=content("train_segmentation"),
    shell:
        "python workflow_scripts/train_segmentation.py --settings {params.settings:q}"
        " {params.seed} {params.deterministic} --index {input.index:q}"
        " --labels {input.labels:q} {params.leaks}"
        " --dataset-name={params.dataset_name:q} --run-folder {params.run:q}"
        " --weights {output.weights:q} --history {output.history:q}"
        " --runtime {resources.runtime_settings:q} --gpus {resources.gpu}"
        " --threads {threads} --log {log:q}"


def preflight_of_round(wildcards):
    return PREFLIGHT_PUBLISHED if wildcards.round == "published" else PREFLIGHT


checkpoint predict:
    input:
        weights=f"{RESULTS}/segmentation/{{round}}/weights.safetensors",
        index=f"{RESULTS}/data/{{split}}/{{shard}}.json",
        preflight=preflight_of_round,
    output:
        manifest=f"{RESULTS}/predictions/{{round}}/{{split}}/{{shard}}.json",
        logits_manifest=f"{RESULTS}/predictions/{{round}}/{{split}}/logits/{{shard}}.json",
        logits=intermediate(
            directory(f"{RESULTS}/predictions/{{round}}/{{split}}/logits/{{shard}}")
        ),
    log:
        f"{RESULTS}/logs/predict/{{round}}/{{split}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/predict/{{round}}/{{split}}/{{shard}}.tsv"
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.inference_threads
    resources:
        gpu=1,
    params:
        folder=f"{RESULTS}/predictions/{{round}}/{{split}}/images",
        deterministic=DETERMINISTIC,
        code=code("predict"),
        content=content("predict"),
    shell:
        "python workflow_scripts/predict.py --weights {input.weights:q} --index {input.index:q}"
        " --folder {params.folder:q} --manifest {output.manifest:q}"
        " --logits {output.logits:q} --logits-manifest {output.logits_manifest:q}"
        " --gpus {resources.gpu} {params.deterministic} --threads {threads} --log {log:q}"


checkpoint crf:
    input:
        index=f"{RESULTS}/data/{{split}}/{{shard}}.json",
        logits_manifest=rules.predict.output.logits_manifest,
        logits=rules.predict.output.logits,
        # After a checkpoint Snakemake looks anew at what reads it alone: without these the logits,
        # which are gone, would be predicted for a CRF that nothing makes stale.
        order=rules.predict.input.weights,
        preflight=preflight_of_round,
    output:
        manifest=f"{RESULTS}/crf/{{round}}/{{split}}/{{shard}}.json",
    log:
        f"{RESULTS}/logs/crf/{{round}}/{{split}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/crf/{{round}}/{{split}}/{{shard}}.tsv"
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.inference_threads
    params:
        settings=section("crf"),
        folder=f"{RESULTS}/crf/{{round}}/{{split}}/images",
        code=code("crf"),
        content=content("crf"),
    shell:
        "python workflow_scripts/crf.py --settings {params.settings:q} --index {input.index:q}"
        " --logits {input.logits_manifest:q} --folder {params.folder:q}"
        " --manifest {output.manifest:q} --threads {threads} --log {log:q}"


def remove_used_logits():
    """Remove the logits that their CRF has used, unless they are to be kept.

    While a checkpoint is to come, Snakemake only notes what it will remove, and a run that ends
    before that forgets it.
    """
    if CONFIG.keep_intermediates or workflow.storage_settings.notemp:
        return
    for folder in Path(RESULTS, "predictions").glob("*/*/logits/*-of-*"):
        shard = folder.parents[1].relative_to(Path(RESULTS, "predictions")) / folder.name
        logits, crf = folder.with_suffix(".json"), Path(RESULTS, "crf", f"{shard}.json")
        if not (folder.is_dir() and logits.is_file() and crf.is_file()):
            continue
        # It may be of other logits, where this run was not asked for the CRF.
        if content_digest(logits) in read_provenance(crf)["inputs"].values():
            logger.info(f"Removing {folder}, which the CRF has used.")
            shutil.rmtree(folder)
