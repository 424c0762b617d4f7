# Scores of every stage that makes pixels, pictures, and the published checkpoint.
# Scored stage -> (split, folder of its manifests).
SCORED_STAGES = {
    "cam": ("train", "cams"),
    "initial_labels": ("train", "labels/initial"),
    "train_aug_prediction": ("train", "predictions/initial/train"),
    "train_aug_crf": ("train", "crf/initial/train"),
    "refined_labels": ("train", "labels/refined"),
    "initial_val_prediction": ("val", "predictions/initial/val"),
    "initial_val_crf": ("val", "crf/initial/val"),
    "val_prediction": ("val", "predictions/final/val"),
    "val_crf": ("val", "crf/final/val"),
    "published_val_prediction": ("val", "predictions/published/val"),
    "published_val_crf": ("val", "crf/published/val"),
}
# What a run of the whole pipeline scores; the others are made when asked for by file name.
PIPELINE_STAGES = [
    *(["cam", "initial_labels", "train_aug_prediction", "train_aug_crf"] if PSEUDO else []),
    *(["refined_labels"] if PSEUDO else []),
    *["val_prediction", "val_crf"],
]


rule score:
    input:
        index=lambda wildcards: f"{RESULTS}/data/{SCORED_STAGES[wildcards.stage][0]}.json",
        manifests=lambda wildcards: shards(SCORED_STAGES[wildcards.stage][1]),
    output:
        f"{RESULTS}/scores/{{stage}}.json",
    log:
        f"{RESULTS}/logs/score/{{stage}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score/{{stage}}.tsv"
    wildcard_constraints:
        stage="|".join(SCORED_STAGES),
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.inference_threads
    params:
        attention=lambda wildcards: (
            f"--attention --cam-background {CONFIG.evaluation.cam_background}"
            if wildcards.stage == "cam"
            else ""
        ),
        masks=dataset("masks"),
        code=code("score"),
    shell:
        "python workflow_scripts/score.py --stage {wildcards.stage} --index {input.index:q}"
        " --manifests {input.manifests:q} {params.attention} --output {output:q}"
        " --threads {threads} --log {log:q}"


rule score_table:
    input:
        expand(f"{RESULTS}/scores/{{stage}}.json", stage=PIPELINE_STAGES),
    output:
        f"{RESULTS}/scores/table.md",
    log:
        f"{RESULTS}/logs/score_table.log",
    conda:
        "../envs/i2crc.yaml"
    params:
        code=code("score_table"),
    shell:
        "python workflow_scripts/score_table.py --scores {input:q} --output {output:q} --log {log:q}"


rule contact_sheet:
    input:
        index=f"{RESULTS}/data/train.json",
        saliency=rules.download_saliency.output.manifest,
        cams=shards("cams"),
        initial=shards("labels/initial"),
        refined=shards("labels/refined"),
        weights=f"{RESULTS}/segmentation/final/weights.safetensors",
    output:
        f"{RESULTS}/contact_sheet.png",
    log:
        f"{RESULTS}/logs/contact_sheet.log",
    benchmark:
        f"{RESULTS}/benchmarks/contact_sheet.tsv"
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.inference_threads
    resources:
        gpu=1,
    params:
        images=CONFIG.evaluation.sheet_images,
        code=code("contact_sheet"),
    shell:
        "python workflow_scripts/contact_sheet.py --index {input.index:q} --saliency {input.saliency:q}"
        " --cams {input.cams:q} --initial {input.initial:q} --refined {input.refined:q}"
        " --weights {input.weights:q} --images {params.images} --output {output:q}"
        " --gpus {resources.gpu} --threads {threads} --log {log:q}"


rule fetch_checkpoint:
    input:
        index=f"{RESULTS}/data/val.json",
    output:
        weights=f"{RESULTS}/segmentation/published/weights.safetensors",
    log:
        f"{RESULTS}/logs/fetch_checkpoint.log",
    benchmark:
        f"{RESULTS}/benchmarks/fetch_checkpoint.tsv"
    conda:
        "../envs/i2crc.yaml"
    params:
        source=CONFIG.checkpoint.source,
        outside=outside(CONFIG.checkpoint.source),
        sha256=CONFIG.checkpoint.sha256,
        settings=section("segmentation"),
        cache=f"{RESULTS}/segmentation/published/cache",
        code=code("fetch_checkpoint"),
    shell:
        "python workflow_scripts/fetch_checkpoint.py --source {params.source:q} --sha256={params.sha256:q}"
        " --settings {params.settings:q} --index {input.index:q} --cache {params.cache:q}"
        " --weights {output.weights:q} --log {log:q}"
