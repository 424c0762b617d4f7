# The data set: drawn for the demo, indexed, dealt out to shards, checked for leaks.

SPLITS = ("train", "val", "test")
NETWORKS = ("classifier", "segmentation")
INITIAL_WEIGHTS = as_json({name: getattr(CONFIG, name).weights.model_dump() for name in NETWORKS})


checkpoint render_demo:
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
        content=content("render_demo"),
    shell:
        "python workflow_scripts/render_demo.py --output {params.root:q} --archive {output.archive:q}"
        " --train {params.train} --val {params.val} --size {params.size}"
        " --manifest {output.manifest:q} --log {log:q}"


checkpoint prepare_data:
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
        settings=lambda wildcards: json.dumps(
            # The name and the lists of other splits do not concern this one.
            CONFIG.dataset.model_dump(
                exclude={"name", "demo", *(f"{split}_list" for split in SPLITS)}
                - {f"{wildcards.split}_list"}
            )
        ),
        outside=lambda wildcards: (
            dataset("images", f"{wildcards.split}_list"),
            dataset("masks") if CONFIG.dataset.labels_from == "masks" else "",
            # The demo's is not there yet when this is asked; render_demo's manifest tells of it.
            "" if IS_DEMO else outside(Path(DATA_ROOT) / "classes.txt"),
        ),
        code=code("prepare_data"),
        content=content("prepare_data"),
    shell:
        "python workflow_scripts/prepare_data.py --split {wildcards.split} --root {params.root:q}"
        " --settings {params.settings:q} --output {output.index:q} --shards {output.shards:q}"
        " --threads {threads} --log {log:q}"


checkpoint check_leaks:
    input:
        train=f"{RESULTS}/data/train.json",
        val=f"{RESULTS}/data/val.json" if CONFIG.dataset.val_list else [],
    output:
        f"{RESULTS}/data/leaks.json",
    log:
        f"{RESULTS}/logs/check_leaks.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_leaks.tsv"
    conda:
        "../envs/i2crc.yaml"
    params:
        weights=INITIAL_WEIGHTS,
        weight_files=[weight_file(getattr(CONFIG, name).weights) for name in NETWORKS],
        dataset_name=CONFIG.dataset.name,
        allow="--allow" if CONFIG.evaluation.allow_leaks else "",
        code=code("check_leaks"),
        content=content("check_leaks"),
    shell:
        "python workflow_scripts/check_leaks.py --train {input.train:q} --val {input.val:q}"
        " --weights {params.weights:q} --dataset-name={params.dataset_name:q} {params.allow}"
        " --output {output:q} --log {log:q}"
