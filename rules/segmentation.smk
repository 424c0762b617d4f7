# The segmentation network, its predictions and their CRF: the same rules for every round.
#
# initial: trained on the initial labels, predicts train_aug. final: trained on the refined labels,
# predicts val. published: a checkpoint from elsewhere (rules/evaluation.smk).
LABELS_OF_ROUND = {"initial": "labels/initial", "final": "labels/refined"}


checkpoint train_segmentation:
    input:
        index=f"{RESULTS}/data/train.json",
        labels=lambda wildcards: shards(LABELS_OF_ROUND[wildcards.round]) if PSEUDO else [],
        preflight=PREFLIGHT,
    output:
        weights=f"{RESULTS}/segmentation/{{round}}/weights.safetensors",
        history=f"{RESULTS}/segmentation/{{round}}/history.csv",
    log:
        f"{RESULTS}/logs/train_segmentation/{{round}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_segmentation/{{round}}.tsv"
    wildcard_constraints:
        round="initial|final",
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.training_threads
    resources:
        gpu=RUNTIME.gpus,
        runtime_settings=RUNTIME.model_dump_json(),
    params:
        settings=section("segmentation"),
        weight_file=weight_file(CONFIG.segmentation.weights),
        masks="" if PSEUDO else dataset("masks"),
        leak_images=CONFIG.evaluation.leak_images,
        allow_leaks="--allow-leaks" if CONFIG.evaluation.allow_leaks else "",
        dataset_name=CONFIG.dataset.name,
        seed=CONFIG.seed,
        deterministic="--deterministic" if CONFIG.deterministic else "",
        run=f"{RESULTS}/segmentation/{{round}}/run",
        code=code("train_segmentation"),
        content=content("train_segmentation", but=PREFLIGHTS),
    shell:
        "python workflow_scripts/train_segmentation.py --settings {params.settings:q}"
        " --seed {params.seed} {params.deterministic} --index {input.index:q}"
        " --labels {input.labels:q} --leak-images {params.leak_images} {params.allow_leaks}"
        " --dataset-name={params.dataset_name:q} --run-folder {params.run:q}"
        " --weights {output.weights:q} --history {output.history:q}"
        " --runtime {resources.runtime_settings:q} --gpus {resources.gpu}"
        " --threads {threads} --log {log:q}"


checkpoint predict:
    input:
        weights=f"{RESULTS}/segmentation/{{round}}/weights.safetensors",
        index=f"{RESULTS}/data/{{split}}/{{shard}}.json",
        preflight=lambda wildcards: (
            PREFLIGHT_PUBLISHED if wildcards.round == "published" else PREFLIGHT
        ),
    output:
        manifest=f"{RESULTS}/predictions/{{round}}/{{split}}/{{shard}}.json",
    log:
        f"{RESULTS}/logs/predict/{{round}}/{{split}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/predict/{{round}}/{{split}}/{{shard}}.tsv"
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.inference_threads
    resources:
        gpu=1,
    params:
        folder=f"{RESULTS}/predictions/{{round}}/{{split}}/images",
        code=code("predict"),
        content=content("predict", but=PREFLIGHTS),
    shell:
        "python workflow_scripts/predict.py --weights {input.weights:q} --index {input.index:q}"
        " --folder {params.folder:q} --manifest {output.manifest:q}"
        " --gpus {resources.gpu} --threads {threads} --log {log:q}"


checkpoint crf:
    input:
        index=f"{RESULTS}/data/{{split}}/{{shard}}.json",
        predictions=rules.predict.output.manifest,
    output:
        manifest=f"{RESULTS}/crf/{{round}}/{{split}}/{{shard}}.json",
    log:
        f"{RESULTS}/logs/crf/{{round}}/{{split}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/crf/{{round}}/{{split}}/{{shard}}.tsv"
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.inference_threads
    params:
        settings=section("crf"),
        folder=f"{RESULTS}/crf/{{round}}/{{split}}/images",
        code=code("crf"),
        content=content("crf"),
    shell:
        "python workflow_scripts/crf.py --settings {params.settings:q} --index {input.index:q}"
        " --predictions {input.predictions:q} --folder {params.folder:q}"
        " --manifest {output.manifest:q} --threads {threads} --log {log:q}"
