# The segmentation network, its predictions and their CRF: the same rules for every round.
#
# initial: trained on the initial labels, predicts train_aug. final: trained on the refined labels,
# predicts val. published: a checkpoint from elsewhere (rules/published.smk).
#
# With a single round, the training of the final network is that of the initial one, and is found
# finished in its folder of kept trainings.
LABELS_OF_ROUND = {"initial": "labels/initial", "final": "labels/refined"}
FOLDER_OF_ROUND = {"initial": "segmentation/initial", "final": "segmentation/final"}
if ONE_ROUND:
    LABELS_OF_ROUND["final"], FOLDER_OF_ROUND["final"] = "labels/initial", "segmentation/initial"


rule train_segmentation:
    input:
        index=f"{RESULTS}/data/train.json",
        labels=lambda wildcards: shards(LABELS_OF_ROUND[wildcards.round]) if PSEUDO else [],
        dev=DEV_INDEX,
        preflight=PREFLIGHT,
        first=lambda wildcards: (
            f"{RESULTS}/segmentation/initial/weights.safetensors"
            if ONE_ROUND and wildcards.round == "final"
            else []
        ),
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
        ENVIRONMENT
    threads: RUNTIME.training_threads
    resources:
        **training_resources(24000, 720),
    params:
        settings=section("segmentation"),
        files=weight_files(CONFIG.segmentation.weights),
        runtime=uncompared(RUNTIME.model_dump_json()),
        # Labels that were made are searched for leaks; a network that saw masks names their set.
        leaks=(
            f"--leak-images {CONFIG.evaluation.leak_images}"
            + (" --allow-leaks" if CONFIG.evaluation.allow_leaks else "")
            if PSEUDO
            else ""
        ),
        dataset_name=lambda wildcards: (
            CONFIG.dataset.name if CONFIG.dataset.trusted_masks or not PSEUDO else ""
        ),
        seed=f"--seed {CONFIG.seed}",
        deterministic=DETERMINISTIC,
        run=lambda wildcards: f"{RESULTS}/{FOLDER_OF_ROUND[wildcards.round]}/run",
        script=script("train_segmentation"),
        code=code("train_segmentation"),
    shell:
        "python {params.script:q} --settings {params.settings:q}"
        " {params.seed} {params.deterministic} --index {input.index:q}"
        " --labels {input.labels:q} --dev {input.dev:q} {params.leaks}"
        " --dataset-name={params.dataset_name:q} --run-folder {params.run:q}"
        " --weights {output.weights:q} --history {output.history:q}"
        " --runtime {params.runtime:q} --gpus {resources.gpu}"
        " --threads {threads} --log {log:q}"


rule predict:
    input:
        weights=f"{RESULTS}/segmentation/{{round}}/weights.safetensors",
        index=f"{RESULTS}/data/{{split}}/{{shard}}.json",
        preflight=preflight_of_round,
    output:
        manifest=f"{RESULTS}/predictions/{{round}}/{{split}}/{{shard}}.json",
        logits_manifest=f"{RESULTS}/predictions/{{round}}/{{split}}/logits/{{shard}}.json",
    log:
        f"{RESULTS}/logs/predict/{{round}}/{{split}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/predict/{{round}}/{{split}}/{{shard}}.tsv"
    conda:
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    resources:
        **growing(12000, 120),
        gpu=1,
    params:
        settings=section("prediction"),
        folder=f"{RESULTS}/predictions/{{round}}/{{split}}/images",
        logits=f"{RESULTS}/predictions/{{round}}/{{split}}/logits/maps",
        deterministic=DETERMINISTIC,
        script=script("predict"),
        code=code("predict"),
    shell:
        "python {params.script:q} --settings {params.settings:q}"
        " --weights {input.weights:q} --index {input.index:q}"
        " --folder {params.folder:q} --manifest {output.manifest:q}"
        " --logits {params.logits:q} --logits-manifest {output.logits_manifest:q}"
        " --gpus {resources.gpu} {params.deterministic} --threads {threads} --log {log:q}"


rule crf:
    input:
        index=f"{RESULTS}/data/{{split}}/{{shard}}.json",
        logits_manifest=rules.predict.output.logits_manifest,
        preflight=preflight_of_round,
    output:
        manifest=f"{RESULTS}/crf/{{round}}/{{split}}/{{shard}}.json",
    log:
        f"{RESULTS}/logs/crf/{{round}}/{{split}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/crf/{{round}}/{{split}}/{{shard}}.tsv"
    conda:
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    resources:
        **growing(16000, 120),
        gpu=int(RUNTIME.crf_on_gpu),
    params:
        settings=section("crf"),
        folder=f"{RESULTS}/crf/{{round}}/{{split}}/images",
        jobs=uncompared(jobs_at_once(RUNTIME.inference_threads)),
        script=script("crf"),
        code=code("crf"),
    shell:
        "python {params.script:q} --settings {params.settings:q} --index {input.index:q}"
        " --logits {input.logits_manifest:q} --folder {params.folder:q}"
        " --manifest {output.manifest:q} --jobs {params.jobs} --gpus {resources.gpu}"
        " --threads {threads} --log {log:q}"


# What `i2crc segment` needs of a run, in one file, and its model card.
rule pack_model:
    input:
        weights=f"{RESULTS}/segmentation/final/weights.safetensors",
        scores=expand(f"{RESULTS}/scores/{{stage}}.json", stage=FINAL_SCORES if HAS_VAL else []),
        images=expand(
            f"{RESULTS}/scores/{{stage}}.images.csv", stage=FINAL_SCORES if HAS_VAL else []
        ),
        indexes=[f"{RESULTS}/data/train.json", *([f"{RESULTS}/data/val.json"] if HAS_VAL else [])],
        leaks=rules.check_leaks.output,
        # All manifests name the same network.
        saliency=SALIENCY_MANIFESTS[:1] if PSEUDO else [],
    output:
        model=f"{RESULTS}/model.safetensors",
        card=f"{RESULTS}/MODEL_CARD.md",
    log:
        f"{RESULTS}/logs/pack_model.log",
    benchmark:
        f"{RESULTS}/benchmarks/pack_model.tsv"
    conda:
        ENVIRONMENT
    params:
        dataset=as_json(CONFIG.dataset.model_dump(include={"name", "format", "max_side"})),
        prediction=section("prediction"),
        crf=section("crf"),
        bootstrap=CONFIG.evaluation.bootstrap,
        script=script("pack_model"),
        code=code("pack_model"),
    shell:
        "python {params.script:q} --weights {input.weights:q} --scores {input.scores:q}"
        " --images {input.images:q} --bootstrap {params.bootstrap}"
        " --indexes {input.indexes:q} --leaks {input.leaks:q} --saliency {input.saliency:q}"
        " --dataset {params.dataset:q} --prediction {params.prediction:q} --crf {params.crf:q}"
        " --output {output.model:q} --log {log:q}"
