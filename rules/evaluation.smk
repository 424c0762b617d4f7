# Scores of every stage that makes pixels, threshold sweeps, what saliency and classifier are worth,
# the published checkpoint, comparison of experiments, the test server.
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
# Swept threshold -> the values to try.
SWEEPS = CONFIG.evaluation.sweeps.model_dump()
SUBMITTED = {"crf": "crf", "prediction": "predictions"}[CONFIG.evaluation.submission]


checkpoint score:
    input:
        index=lambda wildcards: f"{RESULTS}/data/{SCORED_STAGES[wildcards.stage][0]}.json",
        manifests=lambda wildcards: shards(SCORED_STAGES[wildcards.stage][1]),
        preflight=lambda wildcards: (
            PREFLIGHT_PUBLISHED if wildcards.stage.startswith("published") else PREFLIGHT
        ),
    output:
        scores=f"{RESULTS}/scores/{{stage}}.json",
        images=f"{RESULTS}/scores/{{stage}}.images.csv",
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
        bootstrap=f"--bootstrap {CONFIG.evaluation.bootstrap}",
        boundary_width=f"--boundary-width {CONFIG.evaluation.boundary_width}",
        masks=masks("score"),
        code=code("score"),
        content=content("score"),
    shell:
        "python workflow_scripts/score.py --stage {wildcards.stage} --index {input.index:q}"
        " --manifests {input.manifests:q} {params.attention} {params.bootstrap}"
        " {params.boundary_width} --output {output.scores:q}"
        " --images-csv {output.images:q} --threads {threads} --log {log:q}"


checkpoint score_table:
    input:
        scores=expand(f"{RESULTS}/scores/{{stage}}.json", stage=PIPELINE_STAGES),
        leaks=rules.check_leaks.output,
        weights=expand(
            f"{RESULTS}/segmentation/{{round}}/weights.safetensors",
            round=["initial", "final"] if PSEUDO else ["final"],
        ),
    output:
        markdown=f"{RESULTS}/scores/table.md",
        html=report(
            f"{RESULTS}/scores/table.html",
            category="1 Scores",
            caption="report/scores.rst",
            labels={"figure": "1 Table of all stages"},
        ),
        fragment=f"{RESULTS}/report/landing.html",
    log:
        f"{RESULTS}/logs/score_table.log",
    conda:
        "../envs/i2crc.yaml"
    params:
        code=code("score_table"),
        content=content("score_table"),
    shell:
        "python workflow_scripts/score_table.py --scores {input.scores:q} --leaks {input.leaks:q}"
        " --weights {input.weights:q} --output {output.markdown:q} --html {output.html:q}"
        " --fragment {output.fragment:q} --log {log:q}"


checkpoint sweep:
    input:
        index=f"{RESULTS}/data/train.json",
        cams=shards("cams"),
        preflight=PREFLIGHT,
        saliency=lambda wildcards: (
            []
            if wildcards.parameter == "cam_background"
            else rules.download_saliency.output.manifest
        ),
    output:
        f"{RESULTS}/sweeps/{{parameter}}.json",
    log:
        f"{RESULTS}/logs/sweep/{{parameter}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sweep/{{parameter}}.tsv"
    wildcard_constraints:
        parameter="|".join(SWEEPS),
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.inference_threads
    params:
        values=lambda wildcards: SWEEPS[wildcards.parameter],
        # A sweep of the one is not stale when the others change.
        settings=lambda wildcards: (
            "{}"
            if wildcards.parameter == "cam_background"
            else CONFIG.pseudo_labels.model_dump_json()
        ),
        cam_background=lambda wildcards: (
            CONFIG.evaluation.cam_background if wildcards.parameter == "cam_background" else 0
        ),
        masks=masks("sweep"),
        code=code("sweep"),
        content=content("sweep"),
    shell:
        "python workflow_scripts/sweep.py --parameter {wildcards.parameter} --values {params.values}"
        " --index {input.index:q} --cams {input.cams:q} --saliency {input.saliency:q}"
        " --settings {params.settings:q} --cam-background {params.cam_background}"
        " --output {output:q} --threads {threads} --log {log:q}"


checkpoint saliency_quality:
    input:
        index=f"{RESULTS}/data/train.json",
        saliency=rules.download_saliency.output.manifest,
        preflight=PREFLIGHT,
    output:
        f"{RESULTS}/quality/saliency.json",
    log:
        f"{RESULTS}/logs/saliency_quality.log",
    benchmark:
        f"{RESULTS}/benchmarks/saliency_quality.tsv"
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.inference_threads
    params:
        threshold=CONFIG.evaluation.saliency_threshold,
        masks=masks("saliency_quality"),
        code=code("saliency_quality"),
        content=content("saliency_quality"),
    shell:
        "python workflow_scripts/saliency_quality.py --index {input.index:q}"
        " --saliency {input.saliency:q} --threshold {params.threshold} --output {output:q}"
        " --threads {threads} --log {log:q}"


checkpoint classifier_quality:
    input:
        weights=rules.train_classifier.output.weights,
        index=f"{RESULTS}/data/val.json",
        preflight=PREFLIGHT,
    output:
        f"{RESULTS}/quality/classifier.json",
    log:
        f"{RESULTS}/logs/classifier_quality.log",
    benchmark:
        f"{RESULTS}/benchmarks/classifier_quality.tsv"
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.inference_threads
    resources:
        gpu=1,
    params:
        # Of images without listed classes, it takes those in the mask.
        masks=masks("classifier_quality", lambda entry: entry["classes"] is None),
        deterministic=DETERMINISTIC,
        code=code("classifier_quality"),
        content=content("classifier_quality"),
    shell:
        "python workflow_scripts/classifier_quality.py --weights {input.weights:q}"
        " --index {input.index:q} --output {output:q} --gpus {resources.gpu} {params.deterministic}"
        " --threads {threads} --log {log:q}"


def test_index(wildcards):
    """The index of the images to predict for a test server."""
    if not CONFIG.dataset.test_list:
        raise WorkflowError("dataset.test_list is empty: name the list of the test images")
    return f"{RESULTS}/data/test.json"


checkpoint voc_submission:
    input:
        index=test_index,
        manifests=shards(f"{SUBMITTED}/final/test"),
    output:
        f"{RESULTS}/voc_submission.zip",
    log:
        f"{RESULTS}/logs/voc_submission.log",
    benchmark:
        f"{RESULTS}/benchmarks/voc_submission.tsv"
    conda:
        "../envs/i2crc.yaml"
    params:
        code=code("voc_submission"),
        content=content("voc_submission"),
    shell:
        "python workflow_scripts/voc_submission.py --index {input.index:q}"
        " --manifests {input.manifests:q} --output {output:q} --log {log:q}"


checkpoint compare:
    input:
        lambda wildcards: compared_scores(),
    output:
        json=f"{RESULTS}/compare/compare.json",
        table=f"{RESULTS}/compare/table.md",
        html=f"{RESULTS}/compare/compare.html",
        figure=f"{RESULTS}/compare/compare.svg",
    log:
        f"{RESULTS}/logs/compare.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare.tsv"
    conda:
        "../envs/i2crc.yaml"
    params:
        experiments=CONFIG.compare.experiments,
        bootstrap=CONFIG.evaluation.bootstrap,
        code=code("compare"),
        content=content("compare"),
    shell:
        "python workflow_scripts/compare.py --experiments {params.experiments:q}"
        " --bootstrap {params.bootstrap} --output-json {output.json:q} --table {output.table:q}"
        " --html {output.html:q} --figure {output.figure:q} --log {log:q}"


checkpoint fetch_checkpoint:
    input:
        index=f"{RESULTS}/data/val.json",
        preflight=PREFLIGHT_PUBLISHED,
    output:
        weights=f"{RESULTS}/segmentation/published/weights.safetensors",
    log:
        f"{RESULTS}/logs/fetch_checkpoint.log",
    benchmark:
        f"{RESULTS}/benchmarks/fetch_checkpoint.tsv"
    conda:
        "../envs/i2crc.yaml"
    resources:
        downloads=downloads("segmentation/published/cache"),
    params:
        source=CONFIG.checkpoint.source,
        outside=source(CONFIG.checkpoint.source),
        sha256=CONFIG.checkpoint.sha256,
        settings=section("segmentation"),
        cache=f"{RESULTS}/segmentation/published/cache",
        code=code("fetch_checkpoint"),
        content=content("fetch_checkpoint"),
    shell:
        "python workflow_scripts/fetch_checkpoint.py --source {params.source:q} --sha256={params.sha256:q}"
        " --settings {params.settings:q} --index {input.index:q} --cache {params.cache:q}"
        " --downloads {resources.downloads:q} --weights {output.weights:q} --log {log:q}"
