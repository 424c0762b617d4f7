# The data set and its saliency maps: drawn for the demo, indexed, dealt out to shards, and checked
# before anything expensive.


rule render_demo:
    output:
        manifest=f"{RESULTS}/dataset/manifest.json",
        archive=DEMO_ARCHIVE,
    log:
        f"{RESULTS}/logs/render_demo.log",
    benchmark:
        f"{RESULTS}/benchmarks/render_demo.tsv"
    conda:
        ENVIRONMENT
    params:
        train=f"--train {CONFIG.dataset.demo.train}",
        val=f"--val {CONFIG.dataset.demo.val}",
        size=f"--size {CONFIG.dataset.demo.size}",
        script=script("render_demo"),
        code=code("render_demo"),
    shell:
        "python {params.script:q} {params.train} {params.val} {params.size}"
        " --archive {output.archive:q} --manifest {output.manifest:q} --log {log:q}"


# A data set of another format than voc: all its photographs, before a split is indexed.
rule list_data:
    output:
        listing=f"{RESULTS}/data/listing.json",
    log:
        f"{RESULTS}/logs/list_data.log",
    benchmark:
        f"{RESULTS}/benchmarks/list_data.tsv"
    conda:
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    params:
        root=lambda wildcards: DATA_ROOT,
        settings=listing_settings,
        outside=lambda wildcards: without_photographs(),
        files=lambda wildcards: listed_files(),
        script=script("list_data"),
        code=code("list_data"),
    shell:
        "python {params.script:q} --root {params.root:q} --settings {params.settings:q}"
        " --outside {params.outside:q} --files={params.files:q} --output {output.listing:q}"
        " --threads {threads} --log {log:q}"


rule prepare_data:
    input:
        demo=data_set,
        listing=rules.list_data.output.listing if CONFIG.dataset.format != "voc" else [],
    output:
        index=f"{RESULTS}/data/{{split}}.json",
        shards=expand(f"{RESULTS}/data/{{{{split}}}}/{{shard}}.json", shard=SHARDS),
    log:
        f"{RESULTS}/logs/prepare_data/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/prepare_data/{{split}}.tsv"
    conda:
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    params:
        root=lambda wildcards: DATA_ROOT,
        settings=index_settings,
        files=lambda wildcards: split_files(wildcards.split),
        script=script("prepare_data"),
        code=code("prepare_data"),
    shell:
        "python {params.script:q} --split {wildcards.split} --root {params.root:q}"
        " --settings {params.settings:q} --files={params.files:q} --listing {input.listing:q}"
        " --output {output.index:q} --shards {output.shards:q} --threads {threads} --log {log:q}"


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
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    params:
        source=lambda wildcards: SALIENCY,
        files=saliency_files(),
        retries=uncompared(CONFIG.saliency.retries),
        sha256=CONFIG.saliency.sha256,
        max_pixels=CONFIG.dataset.max_pixels,
        cache=uncompared(transfers("saliency/cache", CONFIG.saliency.sha256)),
        script=script("download_saliency"),
        code=code("download_saliency"),
    shell:
        "python {params.script:q} --source {params.source:q}"
        " --sha256={params.sha256:q} --retries {params.retries} --index {input.index:q}"
        " --cache {params.cache:q} --max-pixels {params.max_pixels} --files={params.files:q}"
        " --manifest {output.manifest:q} --threads {threads} --log {log:q}"


rule compute_saliency:
    input:
        index=f"{RESULTS}/data/train/{{shard}}.json",
        preflight=PREFLIGHT,
    output:
        manifest=f"{RESULTS}/saliency/{{shard}}.json",
    log:
        f"{RESULTS}/logs/compute_saliency/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/compute_saliency/{{shard}}.tsv"
    conda:
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    resources:
        **growing(8000, 120),
        gpu=ONNX_GPUS,
    params:
        settings=as_json(CONFIG.saliency.model.model_dump()),
        files=saliency_model_file(),
        folder=f"{RESULTS}/saliency/computed",
        script=script("compute_saliency"),
        code=code("compute_saliency"),
    shell:
        "python {params.script:q} --settings {params.settings:q} --index {input.index:q}"
        " --folder {params.folder:q} --manifest {output.manifest:q}"
        " --gpus {resources.gpu} --threads {threads} --log {log:q}"


rule check_leaks:
    input:
        train=f"{RESULTS}/data/train.json",
        val=f"{RESULTS}/data/val.json" if HAS_VAL else [],
    output:
        f"{RESULTS}/data/leaks.json",
    log:
        f"{RESULTS}/logs/check_leaks.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_leaks.tsv"
    conda:
        ENVIRONMENT
    params:
        weights=INITIAL_WEIGHTS,
        files=[weight_files(getattr(CONFIG, name).weights) for name in NETWORKS],
        dataset_name=lambda wildcards: CONFIG.dataset.name,
        script=script("check_leaks"),
        code=code("check_leaks"),
    shell:
        "python {params.script:q} --train {input.train:q} --val {input.val:q}"
        " --weights {params.weights:q} --dataset-name={params.dataset_name:q}"
        " --output {output:q} --log {log:q}"


rule preflight:
    input:
        indexes=expand(rules.prepare_data.output.index, split=CHECKED_SPLITS),
        # Computed maps are made after these checks.
        saliency=SALIENCY_MANIFESTS if PSEUDO and not IS_COMPUTED else [],
        leaks=rules.check_leaks.output[0],
    output:
        PREFLIGHT,
    log:
        f"{RESULTS}/logs/preflight.log",
    benchmark:
        f"{RESULTS}/benchmarks/preflight.tsv"
    conda:
        ENVIRONMENT
    resources:
        **growing(8000, 60),
    params:
        settings=checked_settings(NETWORKS if PSEUDO else ["segmentation"]),
        saliency_model=lambda wildcards: SALIENCY_MODEL if PSEUDO else [],
        files=[
            *(weight_files(getattr(CONFIG, name).weights) for name in NETWORKS),
            saliency_model_file(),
        ],
        masks=lambda wildcards: MASKS,
        has_masks=has_masks(),
        allow="--allow-leaks" if CONFIG.evaluation.allow_leaks else "",
        experiment=lambda wildcards: RESULTS,
        scale=max(CONFIG.prediction.scales),
        labels=CONFIG.crf.labels,
        jobs=uncompared(jobs_at_once(RUNTIME.inference_threads)),
        script=script("preflight"),
        code=code("preflight"),
    shell:
        "python {params.script:q} --indexes {input.indexes:q}"
        " --saliency {input.saliency:q} {params.saliency_model:q}"
        " --leaks {input.leaks:q} {params.allow} {params.masks:q}"
        " --settings {params.settings:q} --experiment {params.experiment:q}"
        " --largest-scale {params.scale} --crf-labels {params.labels}"
        " --crf-jobs {params.jobs} --output {output:q} --log {log:q}"


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
        ENVIRONMENT
    resources:
        **growing(8000, 60),
    params:
        settings=checked_settings(["segmentation"]),
        masks=lambda wildcards: MASKS,
        has_masks=has_masks(),
        checkpoint=lambda wildcards: CONFIG.checkpoint.source,
        files=source_files(CONFIG.checkpoint.source),
        experiment=lambda wildcards: RESULTS,
        scale=max(CONFIG.prediction.scales),
        labels=CONFIG.crf.labels,
        jobs=uncompared(jobs_at_once(RUNTIME.inference_threads)),
        script=script("preflight"),
        code=code("preflight"),
    shell:
        "python {params.script:q} --indexes {input:q} {params.masks:q}"
        " --settings {params.settings:q} --checkpoint {params.checkpoint:q} --files={params.files:q}"
        " --experiment {params.experiment:q} --largest-scale {params.scale}"
        " --crf-labels {params.labels} --crf-jobs {params.jobs}"
        " --output {output:q} --log {log:q}"
