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
        root=DATA_ROOT,
        train=CONFIG.dataset.demo.train,
        val=CONFIG.dataset.demo.val,
        size=CONFIG.dataset.demo.size,
        code=code("render_demo"),
    shell:
        "{PYTHON} {SCRIPTS}/render_demo.py --output {params.root:q} --archive {output.archive:q}"
        " --train {params.train} --val {params.val} --size {params.size}"
        " --manifest {output.manifest:q} --log {log:q}"


def data_sources(wildcards):
    """What the index of a split is made of."""
    if IS_DEMO:
        return rules.render_demo.output.manifest
    file = getattr(CONFIG.dataset, f"{wildcards.split}_list")
    return f"{DATA_ROOT}/{file}"


rule prepare_data:
    input:
        data_sources,
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
        root=DATA_ROOT,
        settings=section("dataset", demo={}),
        code=code("prepare_data"),
    shell:
        "{PYTHON} {SCRIPTS}/prepare_data.py --split {wildcards.split} --root {params.root:q}"
        " --settings {params.settings:q} --output {output.index:q} --shards {output.shards:q}"
        " --threads {threads} --log {log:q}"
