# The figures and pages of the report (snakemake --report): curves, bars, sweeps, pictures, facts.
TRAININGS = {
    **({"classifier": "classifier", "initial": "segmentation/initial"} if PSEUDO else {}),
    "final": "segmentation/final",
}
# Split -> the stage by whose scores its images are ranked.
SHEET_RANKING = {"val": "val_crf", **({"train": "refined_labels"} if PSEUDO else {})}
# Split -> column of its sheets -> manifests.
SHEETS = {
    "val": {
        "prediction": shards("predictions/final/val"),
        "CRF": shards("crf/final/val"),
    },
    "train": {
        "saliency": [rules.download_saliency.output.manifest],
        "cam": shards("cams"),
        "initial label": shards("labels/initial"),
        "prediction": shards("predictions/initial/train"),
        "CRF": shards("crf/initial/train"),
        "refined label": shards("labels/refined"),
    },
}
# Without ground truth there is nothing to rank images by.
SHEET_KINDS = ["best", "median", "worst"] if CONFIG.dataset.masks else ["sample"]
# Every artifact whose provenance the report lists.
ARTIFACTS = [
    *expand(f"{RESULTS}/data/{{split}}.json", split=["train", "val"]),
    rules.check_leaks.output[0],
    *([rules.download_saliency.output.manifest] if PSEUDO else []),
    *(f"{RESULTS}/{folder}/weights.safetensors" for folder in TRAININGS.values()),
    *(manifest for stage in PIPELINE_STAGES for manifest in shards(SCORED[stage][1])),
    *expand(f"{RESULTS}/scores/{{stage}}.json", stage=PIPELINE_STAGES),
]


rule score_table:
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
        script=script("score_table"),
        code=code("score_table"),
    shell:
        "python {params.script:q} --scores {input.scores:q} --leaks {input.leaks:q}"
        " --weights {input.weights:q} --output {output.markdown:q} --html {output.html:q}"
        " --fragment {output.fragment:q} --log {log:q}"


rule plot_training:
    input:
        history=lambda wildcards: f"{RESULTS}/{TRAININGS[wildcards.training]}/history.csv",
    output:
        report(
            f"{RESULTS}/report/training_{{training}}.svg",
            category="2 Trainings",
            caption="report/training.rst",
            labels={"training": "{training}"},
        ),
    log:
        f"{RESULTS}/logs/plot_training/{{training}}.log",
    wildcard_constraints:
        training="|".join(TRAININGS),
    conda:
        "../envs/i2crc.yaml"
    params:
        title=lambda wildcards: (
            "Classifier"
            if wildcards.training == "classifier"
            else f"Segmentation network, round {wildcards.training}"
        ),
        script=script("plot_training"),
        code=code("plot_training"),
    shell:
        "python {params.script:q} --history {input.history:q}"
        " --title {params.title:q} --output {output:q} --log {log:q}"


rule plot_scores:
    input:
        expand(
            f"{RESULTS}/scores/{{stage}}.json",
            stage=[*(["refined_labels"] if PSEUDO else []), "val_prediction", "val_crf"],
        ),
    output:
        per_class=report(
            f"{RESULTS}/report/iou_per_class.svg",
            category="1 Scores",
            caption="report/per_class.rst",
            labels={"figure": "2 IoU of each class"},
        ),
        confusion=report(
            f"{RESULTS}/report/confusion.svg",
            category="1 Scores",
            caption="report/confusion.rst",
            labels={"figure": "3 Confusion matrix (val, CRF)"},
        ),
    log:
        f"{RESULTS}/logs/plot_scores.log",
    conda:
        "../envs/i2crc.yaml"
    params:
        script=script("plot_scores"),
        code=code("plot_scores"),
    shell:
        "python {params.script:q} --scores {input:q} --per-class {output.per_class:q}"
        " --confusion {output.confusion:q} --log {log:q}"


rule plot_sweeps:
    input:
        expand(f"{RESULTS}/sweeps/{{parameter}}.json", parameter=SWEEPS),
    output:
        figure=report(
            f"{RESULTS}/report/sweeps.svg",
            category="3 Thresholds and inputs",
            caption="report/sweeps.rst",
            labels={"figure": "1 Threshold sweeps, curves"},
        ),
        table=report(
            f"{RESULTS}/report/sweeps.html",
            category="3 Thresholds and inputs",
            caption="report/sweeps.rst",
            labels={"figure": "2 Threshold sweeps, fixed beside oracle"},
        ),
    log:
        f"{RESULTS}/logs/plot_sweeps.log",
    conda:
        "../envs/i2crc.yaml"
    params:
        script=script("plot_sweeps"),
        code=code("plot_sweeps"),
    shell:
        "python {params.script:q} --sweeps {input:q} --output {output.figure:q}"
        " --table {output.table:q} --log {log:q}"


rule plot_quality:
    input:
        saliency=rules.saliency_quality.output,
        classifier=rules.classifier_quality.output,
    output:
        report(
            f"{RESULTS}/report/quality.html",
            category="3 Thresholds and inputs",
            caption="report/quality.rst",
            labels={"figure": "3 Saliency maps and classifier"},
        ),
    log:
        f"{RESULTS}/logs/plot_quality.log",
    conda:
        "../envs/i2crc.yaml"
    params:
        script=script("plot_quality"),
        code=code("plot_quality"),
    shell:
        "python {params.script:q} --saliency {input.saliency:q}"
        " --classifier {input.classifier:q} --output {output:q} --log {log:q}"


rule contact_sheet:
    input:
        index=f"{RESULTS}/data/{{split}}.json",
        images=lambda wildcards: f"{RESULTS}/scores/{SHEET_RANKING[wildcards.split]}.images.csv",
        manifests=lambda wildcards: sum(SHEETS[wildcards.split].values(), []),
    output:
        report(
            f"{RESULTS}/report/sheets/{{split}}_{{kind}}.png",
            category="4 Pictures",
            caption="report/sheet.rst",
            labels={"split": "{split}", "images": "{kind}"},
        ),
    log:
        f"{RESULTS}/logs/contact_sheet/{{split}}_{{kind}}.log",
    wildcard_constraints:
        kind="|".join(SHEET_KINDS),
    conda:
        "../envs/i2crc.yaml"
    params:
        columns=lambda wildcards: [
            word
            for name, manifests in SHEETS[wildcards.split].items()
            for word in ("--column", f"{name}={','.join(manifests)}")
        ],
        images=CONFIG.evaluation.sheet_images,
        script=script("contact_sheet"),
        code=code("contact_sheet"),
    shell:
        "python {params.script:q} --index {input.index:q}"
        " --images-csv {input.images:q} --kind {wildcards.kind} --count {params.images}"
        " {params.columns:q} --output {output:q} --log {log:q}"


rule run_facts:
    input:
        ARTIFACTS,
    output:
        report(
            f"{RESULTS}/report/run.html",
            category="5 The run",
            caption="report/run.rst",
            labels={"page": "Run times, provenance, configuration"},
        ),
    log:
        f"{RESULTS}/logs/run_facts.log",
    conda:
        "../envs/i2crc.yaml"
    params:
        config=as_json(
            CONFIG.model_dump(exclude={"runtime": True, "compare": True, "saliency": {"retries"}})
        ),
        benchmarks=f"{RESULTS}/benchmarks",
        script=script("run_facts"),
        code=code("run_facts"),
    shell:
        "python {params.script:q} --config {params.config:q}"
        " --benchmarks {params.benchmarks:q} --artifacts {input:q} --output {output:q}"
        " --log {log:q}"


REPORT = [
    rules.score_table.output.html,
    *rules.plot_scores.output,
    *expand(rules.plot_training.output, training=TRAININGS),
    *expand(rules.contact_sheet.output, split=SHEET_RANKING, kind=SHEET_KINDS),
    *([*rules.plot_sweeps.output, *rules.plot_quality.output] if PSEUDO else []),
    *rules.run_facts.output,
]
