# An ablation: every variant of the settings with every seed, each an experiment of its own, and the
# table of their scores. A stage takes over what another of these experiments has finished.
for one in ABLATION_RUNS:
    prefix = f"{one.config.experiment}."

    module:
        name: prefix
        snakefile:
            PROJECT / "rules/pipeline.smk"
        config:
            one.values

    use rule * from prefix as prefix*


rule ablation:
    input:
        ablation_scores,
    output:
        json=f"{ablation_folder(CONFIG)}/ablation.json",
        table=f"{ablation_folder(CONFIG)}/table.md",
        html=f"{ablation_folder(CONFIG)}/ablation.html",
        figure=f"{ablation_folder(CONFIG)}/ablation.svg",
    log:
        f"{RESULTS}/logs/ablation.log",
    benchmark:
        f"{RESULTS}/benchmarks/ablation.tsv"
    conda:
        ENVIRONMENT
    params:
        settings=section("ablation"),
        bootstrap=CONFIG.evaluation.bootstrap,
        script=script("ablation"),
        code=code("ablation"),
    shell:
        "python {params.script:q} --settings {params.settings:q} --scores {input:q}"
        " --bootstrap {params.bootstrap} --output-json {output.json:q} --table {output.table:q}"
        " --html {output.html:q} --figure {output.figure:q} --log {log:q}"
