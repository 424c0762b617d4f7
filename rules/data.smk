# The data set: drawn for the demo, indexed, dealt out to shards.


rule render_demo:
    output:
        manifest=f"{RESULTS}/dataset/manifest.json",
        archive=f"{RESULTS}/dataset/saliency.tar.gz",
    log:
        f"{RESULTS}/logs/render_demo.log",
    benchmark:
        f"{RESULTS}/benchmarks/render_demo.tsv"
    conda:
        "../envs/i2crc.yaml"
    params:
        root=lambda wildcards, output: str(Path(output.manifest).parent),
        train=CONFIG.dataset.demo.train,
        val=CONFIG.dataset.demo.val,
        size=CONFIG.dataset.demo.size,
        code=code("render_demo"),
    shell:
        "python workflow_scripts/render_demo.py --output {params.root:q} --archive {output.archive:q}"
        " --train {params.train} --val {params.val} --size {params.size}"
        " --manifest {output.manifest:q} --log {log:q}"


rule prepare_data:
    input:
        rules.render_demo.output.manifest if IS_DEMO else [],
    output:
        index=f"{RESULTS}/data/{{split}}.json",
        shards=expand(f"{RESULTS}/data/{{{{split}}}}/{{shard}}.json", shard=SHARDS),
    log:
        f"{RESULTS}/logs/prepare_data/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/prepare_data/{{split}}.tsv"
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.inference_threads
    params:
        root=lambda wildcards: DATA_ROOT,
        settings=section("dataset", demo={}),
        outside=lambda wildcards: (
            dataset("images", f"{wildcards.split}_list"),
            dataset("masks") if CONFIG.dataset.labels_from == "masks" else "",
            outside(Path(DATA_ROOT) / "classes.txt"),
        ),
        code=code("prepare_data"),
    shell:
        "python workflow_scripts/prepare_data.py --split {wildcards.split} --root {params.root:q}"
        " --settings {params.settings:q} --output {output.index:q} --shards {output.shards:q}"
        " --threads {threads} --log {log:q}"
