# The classifier and its attention maps.


rule train_classifier:
    input:
        index=f"{RESULTS}/data/train.json",
        saliency=SALIENCY_MANIFESTS,
        preflight=PREFLIGHT,
    output:
        weights=f"{RESULTS}/classifier/weights.safetensors",
        history=f"{RESULTS}/classifier/history.csv",
    log:
        f"{RESULTS}/logs/train_classifier.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_classifier.tsv"
    conda:
        ENVIRONMENT
    threads: RUNTIME.training_threads
    resources:
        **training_resources(16000, 480),
    params:
        settings=section("classifier"),
        files=weight_files(CONFIG.classifier.weights),
        runtime=uncompared(RUNTIME.model_dump_json()),
        seed=f"--seed {CONFIG.seed}",
        deterministic=DETERMINISTIC,
        run=f"{RESULTS}/classifier/run",
        script=script("train_classifier"),
        code=code("train_classifier"),
    shell:
        "python {params.script:q} --settings {params.settings:q}"
        " {params.seed} {params.deterministic} --index {input.index:q}"
        " --saliency {input.saliency:q} --run-folder {params.run:q}"
        " --weights {output.weights:q} --history {output.history:q}"
        " --runtime {params.runtime:q} --gpus {resources.gpu}"
        " --threads {threads} --log {log:q}"


rule infer_cam:
    input:
        weights=rules.train_classifier.output.weights,
        index=f"{RESULTS}/data/train/{{shard}}.json",
        preflight=PREFLIGHT,
    output:
        manifest=f"{RESULTS}/cams/{{shard}}.json",
    log:
        f"{RESULTS}/logs/infer_cam/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/infer_cam/{{shard}}.tsv"
    conda:
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    resources:
        **growing(8000, 120),
        gpu=1,
    params:
        settings=section("cam"),
        folder=f"{RESULTS}/cams/maps",
        deterministic=DETERMINISTIC,
        script=script("infer_cam"),
        code=code("infer_cam"),
    shell:
        "python {params.script:q} --settings {params.settings:q} --weights {input.weights:q}"
        " --index {input.index:q} --folder {params.folder:q} --manifest {output.manifest:q}"
        " --gpus {resources.gpu} {params.deterministic} --threads {threads} --log {log:q}"


rule classifier_quality:
    input:
        weights=rules.train_classifier.output.weights,
        index=f"{RESULTS}/data/val.json",
        preflight=PREFLIGHT,
    output:
        f"{RESULTS}/quality/classifier.json",
    log:
        f"{RESULTS}/logs/classifier_quality.log",
    benchmark:
        f"{RESULTS}/benchmarks/classifier_quality.tsv"
    conda:
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    resources:
        gpu=1,
    params:
        deterministic=DETERMINISTIC,
        script=script("classifier_quality"),
        code=code("classifier_quality"),
    shell:
        "python {params.script:q} --weights {input.weights:q}"
        " --index {input.index:q} --output {output:q} --gpus {resources.gpu} {params.deterministic}"
        " --threads {threads} --log {log:q}"
