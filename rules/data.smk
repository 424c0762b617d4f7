# The data set and its saliency maps: drawn for the demo, indexed, dealt out to shards, checked before
# anything expensive.

SPLITS = ("train", "val", "test")
NETWORKS = ("classifier", "segmentation")
INITIAL_WEIGHTS = as_json({name: getattr(CONFIG, name).weights.model_dump() for name in NETWORKS})

CHECKED_SPLITS = [s for s in SPLITS if s == "train" or getattr(CONFIG.dataset, f"{s}_list")]
MASKS = ["--masks", f"{DATA_ROOT}/{CONFIG.dataset.masks}"] if CONFIG.dataset.masks else []
# Nothing expensive runs before these; what they say changes nothing that follows.
PREFLIGHT = f"{RESULTS}/preflight/pipeline.json"
PREFLIGHT_PUBLISHED = f"{RESULTS}/preflight/published.json"


def checked_settings(networks):
    """Return what decides whether networks can be built, and how large the files of a run become."""
    keys = ["backbone", "output_stride", "backbone_stage", "weights", "head_convs", "head_channels"]
    keys = dict.fromkeys([*keys, "aspp_rates", "supervision"], True) | {"optimizer": {"name"}}
    return as_json({name: getattr(CONFIG, name).model_dump(include=keys) for name in networks})


def has_masks():
    """Return whether the folder of the ground truth is there; the demo draws it."""
    return IS_DEMO or Path(DATA_ROOT, CONFIG.dataset.masks).is_dir()


def index_settings(wildcards):
    """Return the settings of the data set, without its name and the lists of other splits."""
    others = {f"{split}_list" for split in SPLITS if split != wildcards.split}
    return json.dumps(CONFIG.dataset.model_dump(exclude={"name", "demo", *others}))


def split_files(split):
    """Return `files` of what the index of a split is made from: list, photographs and masks."""
    if IS_DEMO:
        return "demo"
    root, settings = Path(DATA_ROOT), CONFIG.dataset
    read = [getattr(settings, f"{split}_list"), "classes.txt", settings.images]
    read += [settings.masks] if settings.masks else []
    return files(*(str(root / name) for name in read))


def image_cache(split):
    """Return the file that remembers what the images of a split contain, so each is read once.

    Experiments that share it look at the same files with the same code and settings.
    """
    if IS_DEMO:
        return f"{RESULTS}/data/{split}.cache"
    settings = CONFIG.dataset.model_dump_json(exclude={"name", "demo"})
    key = digest_value([split, str(Path(DATA_ROOT).resolve()), settings, code("prepare_data")])
    return shared(f"data/{split}.cache", f"images/{key[:16]}")


def weight_files(weights):
    """Return `files` of a pretrained weight file of the user's."""
    return files(weights.name) if weights.source == "file" else ""


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
        train=f"--train {CONFIG.dataset.demo.train}",
        val=f"--val {CONFIG.dataset.demo.val}",
        size=f"--size {CONFIG.dataset.demo.size}",
        code=code("render_demo"),
    shell:
        "python {SCRIPTS:q}/data/render_demo.py --output {params.root:q} --archive {output.archive:q}"
        " {params.train} {params.val} {params.size}"
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
        settings=index_settings,
        files=lambda wildcards: split_files(wildcards.split),
        cache=lambda wildcards, input: image_cache(wildcards.split),
        code=code("prepare_data"),
    shell:
        "python {SCRIPTS:q}/data/prepare_data.py --split {wildcards.split} --root {params.root:q}"
        " --settings {params.settings:q} --cache {params.cache:q} --files={params.files:q}"
        " --output {output.index:q}"
        " --shards {output.shards:q} --threads {threads} --log {log:q}"


# The archive or folder of the saliency maps.
SALIENCY = CONFIG.saliency.source or (
    str(rules.render_demo.output.archive) if IS_DEMO else f"{DATA_ROOT}/saliency"
)


def saliency_files():
    """Return `files` of the user's saliency maps; the demo's are an input."""
    return "demo" if SALIENCY == str(rules.render_demo.output.archive) else source_files(SALIENCY)


def map_cache():
    """Return the file that remembers what the saliency maps contain."""
    if IS_DEMO:
        return f"{RESULTS}/saliency/maps.cache"
    path = local_path(SALIENCY)
    place = str(path.resolve()) if path else SALIENCY
    key = digest_value([place, CONFIG.dataset.max_pixels, code("download_saliency")])
    return shared("saliency/maps.cache", f"images/{key[:16]}")


rule download_saliency:
    input:
        index=f"{RESULTS}/data/train.json",
        archive=rules.render_demo.output.archive if IS_DEMO else [],
    output:
        manifest=f"{RESULTS}/saliency/manifest.json",
    log:
        f"{RESULTS}/logs/download_saliency.log",
    benchmark:
        f"{RESULTS}/benchmarks/download_saliency.tsv"
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.inference_threads
    params:
        source=lambda wildcards: SALIENCY,
        files=saliency_files(),
        retries=uncompared(CONFIG.saliency.retries),
        downloads=uncompared(shared("saliency/cache", "downloads")),
        map_cache=uncompared(map_cache()),
        sha256=CONFIG.saliency.sha256,
        max_pixels=CONFIG.dataset.max_pixels,
        folder=f"{RESULTS}/saliency/maps",
        cache=f"{RESULTS}/saliency/cache",
        code=code("download_saliency"),
    shell:
        "python {SCRIPTS:q}/data/download_saliency.py --source {params.source:q}"
        " --sha256={params.sha256:q} --retries {params.retries} --index {input.index:q}"
        " --cache {params.cache:q} --downloads {params.downloads:q}"
        " --max-pixels {params.max_pixels} --map-cache {params.map_cache:q} --files={params.files:q}"
        " --output {params.folder:q} --manifest {output.manifest:q}"
        " --threads {threads} --log {log:q}"


rule check_leaks:
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
        files=[weight_files(getattr(CONFIG, name).weights) for name in NETWORKS],
        dataset_name=CONFIG.dataset.name,
        code=code("check_leaks"),
    shell:
        "python {SCRIPTS:q}/data/check_leaks.py --train {input.train:q} --val {input.val:q}"
        " --weights {params.weights:q} --dataset-name={params.dataset_name:q}"
        " --output {output:q} --log {log:q}"


rule preflight:
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
    resources:
        **growing(8000, 60),
    params:
        settings=checked_settings(NETWORKS if PSEUDO else ["segmentation"]),
        files=[weight_files(getattr(CONFIG, name).weights) for name in NETWORKS],
        masks=MASKS,
        has_masks=has_masks(),
        allow="--allow-leaks" if CONFIG.evaluation.allow_leaks else "",
        experiment=lambda wildcards: RESULTS,
        code=code("preflight"),
    shell:
        "python {SCRIPTS:q}/data/preflight.py --indexes {input.indexes:q}"
        " --saliency {input.saliency:q} --leaks {input.leaks:q} {params.allow} {params.masks:q}"
        " --settings {params.settings:q} --experiment {params.experiment:q} --output {output:q}"
        " --log {log:q}"


# The same before a published checkpoint is evaluated, which takes the val split alone.
rule preflight_published:
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
    resources:
        **growing(8000, 60),
    params:
        settings=checked_settings(["segmentation"]),
        masks=MASKS,
        has_masks=has_masks(),
        checkpoint=CONFIG.checkpoint.source,
        files=source_files(CONFIG.checkpoint.source),
        experiment=lambda wildcards: RESULTS,
        code=code("preflight"),
    shell:
        "python {SCRIPTS:q}/data/preflight.py --indexes {input:q} {params.masks:q}"
        " --settings {params.settings:q} --checkpoint {params.checkpoint:q} --files={params.files:q}"
        " --experiment {params.experiment:q} --output {output:q} --log {log:q}"
