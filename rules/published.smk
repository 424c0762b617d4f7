# A published checkpoint is evaluated; predictions are packed for the test server.
SUBMITTED = {"crf": "crf", "prediction": "predictions"}[CONFIG.evaluation.submission]


rule fetch_checkpoint:
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
        ENVIRONMENT
    params:
        source=lambda wildcards: CONFIG.checkpoint.source,
        files=source_files(CONFIG.checkpoint.source),
        sha256=CONFIG.checkpoint.sha256,
        settings=section("segmentation"),
        cache=uncompared(transfers("segmentation/published/cache", CONFIG.checkpoint.sha256)),
        script=script("fetch_checkpoint"),
        code=code("fetch_checkpoint"),
    shell:
        "python {params.script:q} --source {params.source:q} --sha256={params.sha256:q}"
        " --settings {params.settings:q} --index {input.index:q} --cache {params.cache:q}"
        " --weights {output.weights:q} --log {log:q}"


rule voc_submission:
    input:
        index=f"{RESULTS}/data/test.json",
        manifests=shards(f"{SUBMITTED}/final/test"),
    output:
        f"{RESULTS}/voc_submission.zip",
    log:
        f"{RESULTS}/logs/voc_submission.log",
    benchmark:
        f"{RESULTS}/benchmarks/voc_submission.tsv"
    conda:
        ENVIRONMENT
    params:
        script=script("voc_submission"),
        code=code("voc_submission"),
    shell:
        "python {params.script:q} --index {input.index:q}"
        " --manifests {input.manifests:q} --output {output:q} --log {log:q}"
