# The data set: drawn for the demo, indexed, dealt out to shards, checked before anything expensive.

SPLITS = ("train", "val", "test")
NETWORKS = ("classifier", "segmentation")
INITIAL_WEIGHTS = as_json({name: getattr(CONFIG, name).weights.model_dump() for name in NETWORKS})

CHECKED_SPLITS = [s for s in SPLITS if s == "train" or getattr(CONFIG.dataset, f"{s}_list")]
MASKS = ["--masks", f"{DATA_ROOT}/{CONFIG.dataset.masks}"] if CONFIG.dataset.masks else []
# Nothing expensive runs before these; what they say changes nothing that follows.
PREFLIGHT = f"{RESULTS}/preflight/pipeline.json"
PREFLIGHT_PUBLISHED = f"{RESULTS}/preflight/published.json"


def checked_settings(networks):
    """What decides whether networks can be built, and how large the files of a run become."""
    keys = ["backbone", "output_stride", "backbone_stage", "weights", "head_convs", "head_channels"]
    keys = dict.fromkeys([*keys, "aspp_rates", "supervision"], True) | {"optimizer": {"name"}}
    return as_json({name: getattr(CONFIG, name).model_dump(include=keys) for name in networks})


def has_masks():
    """Whether the folder of the ground truth is there; the demo draws it."""
    return IS_DEMO or Path(DATA_ROOT, CONFIG.dataset.masks).is_dir()


def index_settings(wildcards):
    """The settings of the data set, without its name and the lists of other splits."""
    others = {f"{split}_list" for split in SPLITS if split != wildcards.split}
    return json.dumps(CONFIG.dataset.model_dump(exclude={"name", "demo", *others}))


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
        train=f"--train {CONFIG.dataset.demo.train}",
        val=f"--val {CONFIG.dataset.demo.val}",
        size=f"--size {CONFIG.dataset.demo.size}",
        code=code("render_demo"),
        content=content("render_demo"),
    shell:
        "python workflow_scripts/render_demo.py --output {params.root:q} --archive {output.archive:q}"
        " {params.train} {params.val} {params.size}"
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
    resources:
        findings=lambda wildcards: findings(
            f"data/{wildcards.split}.findings",
            str(Path(DATA_ROOT).resolve()),
            index_settings(wildcards),
            code("prepare_data"),
        ),
    params:
        root=lambda wildcards: DATA_ROOT,
        settings=index_settings,
        data_set=lambda wildcards: data_set(wildcards.split),
        code=code("prepare_data"),
        content=content("prepare_data"),
    shell:
        "python workflow_scripts/prepare_data.py --split {wildcards.split} --root {params.root:q}"
        " --settings {params.settings:q} --findings {resources.findings:q} --output {output.index:q}"
        " --shards {output.shards:q} --threads {threads} --log {log:q}"


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
        code=code("check_leaks"),
        content=content("check_leaks"),
    shell:
        "python workflow_scripts/check_leaks.py --train {input.train:q} --val {input.val:q}"
        " --weights {params.weights:q} --dataset-name={params.dataset_name:q}"
        " --output {output:q} --log {log:q}"


checkpoint preflight:
    input:
        indexes=expand(rules.prepare_data.output.index, split=CHECKED_SPLITS),
        saliency=f"{RESULTS}/saliency/manifest.json" if PSEUDO else [],
        leaks=rules.check_leaks.output[0],
    output:
        PREFLIGHT,
    log:
        f"{RESULTS}/logs/preflight.log",
    benchmark:
        f"{RESULTS}/benchmarks/preflight.tsv"
    conda:
        "../envs/i2crc.yaml"
    params:
        settings=checked_settings(NETWORKS if PSEUDO else ["segmentation"]),
        weight_files=[weight_file(getattr(CONFIG, name).weights) for name in NETWORKS],
        masks=MASKS,
        has_masks=has_masks(),
        allow="--allow-leaks" if CONFIG.evaluation.allow_leaks else "",
        experiment=lambda wildcards: RESULTS,
        code=code("preflight"),
        content=content("preflight"),
    shell:
        "python workflow_scripts/preflight.py --indexes {input.indexes:q}"
        " --saliency {input.saliency:q} --leaks {input.leaks:q} {params.allow} {params.masks:q}"
        " --settings {params.settings:q} --experiment {params.experiment:q} --output {output:q}"
        " --log {log:q}"


# The same before a published checkpoint is evaluated, which takes the val split alone.
checkpoint preflight_published:
    input:
        f"{RESULTS}/data/val.json",
    output:
        PREFLIGHT_PUBLISHED,
    log:
        f"{RESULTS}/logs/preflight_published.log",
    benchmark:
        f"{RESULTS}/benchmarks/preflight_published.tsv"
    conda:
        "../envs/i2crc.yaml"
    params:
        settings=checked_settings(["segmentation"]),
        masks=MASKS,
        has_masks=has_masks(),
        checkpoint=CONFIG.checkpoint.source,
        outside=source(CONFIG.checkpoint.source),
        experiment=lambda wildcards: RESULTS,
        code=code("preflight"),
        content=content("preflight_published"),
    shell:
        "python workflow_scripts/preflight.py --indexes {input:q} {params.masks:q}"
        " --settings {params.settings:q} --checkpoint {params.checkpoint:q}"
        " --experiment {params.experiment:q} --output {output:q} --log {log:q}"
