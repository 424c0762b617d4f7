# The classifier and its attention maps.


checkpoint train_classifier:
    input:
        index=f"{RESULTS}/data/train.json",
        saliency=rules.download_saliency.output.manifest,
        preflight=PREFLIGHT,
    output:
        weights=f"{RESULTS}/classifier/weights.safetensors",
        history=f"{RESULTS}/classifier/history.csv",
    log:
        f"{RESULTS}/logs/train_classifier.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_classifier.tsv"
    conda:
        "../envs/i2crc.yaml"
    threads: RUNTIME.training_threads
    resources:
        **several_nodes(),
        gpu=RUNTIME.gpus,
        runtime_settings=RUNTIME.model_dump_json(),
    params:
        settings=section("classifier"),
        weight_file=weight_file(CONFIG.classifier.weights),
        seed=f"--seed {CONFIG.seed}",
        deterministic=DETERMINISTIC,
        run=f"{RESULTS}/classifier/run",
        code=code("train_classifier"),
        content=content("train_classifier"),
    shell:
        "python workflow_scripts/train_classifier.py --settings {params.settings:q}"
        " {params.seed} {params.deterministic} --index {input.index:q}"
        " --saliency {input.saliency:q} --run-folder {params.run:q}"
        " --weights {output.weights:q} --history {output.history:q}"
        " --runtime {resources.runtime_settings:q} --gpus {resources.gpu}"
        " --threads {threads} --log {log:q}"


checkpoint infer_cam:
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
        "../envs/i2crc.yaml"
    threads: RUNTIME.inference_threads
    resources:
        gpu=1,
    params:
        settings=section("cam"),
        folder=f"{RESULTS}/cams/maps",
        deterministic=DETERMINISTIC,
        code=code("infer_cam"),
        content=content("infer_cam"),
    shell:
        "python workflow_scripts/infer_cam.py --settings {params.settings:q} --weights {input.weights:q}"
        " --index {input.index:q} --folder {params.folder:q} --manifest {output.manifest:q}"
        " --gpus {resources.gpu} {params.deterministic} --threads {threads} --log {log:q}"
