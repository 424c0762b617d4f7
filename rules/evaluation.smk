# Scores of every stage that makes pixels, threshold sweeps, the quality of the saliency maps,
# comparison of experiments.
# The scores of a run of the whole pipeline; the others are made if asked for by file name.
PIPELINE_STAGES = scored_stages(CONFIG)
# Swept threshold -> the values to try.
SWEEPS = CONFIG.evaluation.sweeps.model_dump()


rule score:
    input:
        index=lambda wildcards: f"{RESULTS}/data/{SCORED[wildcards.stage][0]}.json",
        manifests=lambda wildcards: shards(SCORED[wildcards.stage][1]),
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
        stage="|".join(SCORED),
    conda:
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    params:
        attention=lambda wildcards: "--attention" if wildcards.stage == "cam" else "",
        settings=lambda wildcards: CONFIG.evaluation.model_dump_json(
            include={"bootstrap", "boundary_width"}
            | ({"cam_background"} if wildcards.stage == "cam" else set())
        ),
        script=script("score"),
        code=code("score"),
    shell:
        "python {params.script:q} --stage {wildcards.stage} --index {input.index:q}"
        " --manifests {input.manifests:q} {params.attention} --settings {params.settings:q}"
        " --output {output.scores:q}"
        " --images-csv {output.images:q} --threads {threads} --log {log:q}"


rule sweep:
    input:
        index=f"{RESULTS}/data/train.json",
        cams=shards("cams"),
        preflight=PREFLIGHT,
        saliency=lambda wildcards: (
            [] if wildcards.parameter == "cam_background" else SALIENCY_MANIFESTS
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
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    params:
        values=lambda wildcards: SWEEPS[wildcards.parameter],
        settings=lambda wildcards: (
            CONFIG.evaluation.model_dump_json(include={"cam_background"})
            if wildcards.parameter == "cam_background"
            else CONFIG.pseudo_labels.model_dump_json()
        ),
        script=script("sweep"),
        code=code("sweep"),
    shell:
        "python {params.script:q} --parameter {wildcards.parameter} --values {params.values}"
        " --index {input.index:q} --cams {input.cams:q} --saliency {input.saliency:q}"
        " --settings {params.settings:q} --output {output:q} --threads {threads} --log {log:q}"


rule saliency_quality:
    input:
        index=f"{RESULTS}/data/train.json",
        saliency=SALIENCY_MANIFESTS,
        preflight=PREFLIGHT,
    output:
        f"{RESULTS}/quality/saliency.json",
    log:
        f"{RESULTS}/logs/saliency_quality.log",
    benchmark:
        f"{RESULTS}/benchmarks/saliency_quality.tsv"
    conda:
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    params:
        threshold=CONFIG.evaluation.saliency_threshold,
        script=script("saliency_quality"),
        code=code("saliency_quality"),
    shell:
        "python {params.script:q} --index {input.index:q}"
        " --saliency {input.saliency:q} --threshold {params.threshold} --output {output:q}"
        " --threads {threads} --log {log:q}"


# The scores are no inputs, because this run's settings must not make those of an experiment again.
rule compare:
    input:
        compared_experiments,
    output:
        # If this job fails, Snakemake restores the last comparison.
        json=update(f"{RESULTS}/compare/compare.json"),
        table=update(f"{RESULTS}/compare/table.md"),
        html=update(f"{RESULTS}/compare/compare.html"),
        figure=update(f"{RESULTS}/compare/compare.svg"),
    log:
        f"{RESULTS}/logs/compare.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare.tsv"
    conda:
        ENVIRONMENT
    params:
        experiments=lambda wildcards: CONFIG.compare.experiments,
        files=lambda wildcards: files(*(f"{e}/scores" for e in CONFIG.compare.experiments)),
        bootstrap=CONFIG.evaluation.bootstrap,
        script=script("compare"),
        code=code("compare"),
    shell:
        "python {params.script:q} --experiments {params.experiments:q}"
        " --bootstrap {params.bootstrap} --output-json {output.json:q} --table {output.table:q}"
        " --html {output.html:q} --figure {output.figure:q} --log {log:q}"
