# Pseudo labels: generated from attention and saliency, refined from CRF predictions.


rule gen_gt:
    input:
        index=f"{RESULTS}/data/train/{{shard}}.json",
        cams=f"{RESULTS}/cams/{{shard}}.json",
        saliency=SALIENCY_OF_SHARD,
    output:
        manifest=f"{RESULTS}/labels/initial/{{shard}}.json",
    log:
        f"{RESULTS}/logs/gen_gt/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/gen_gt/{{shard}}.tsv"
    conda:
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    params:
        settings=section("pseudo_labels"),
        folder=f"{RESULTS}/labels/initial/images",
        script=script("gen_gt"),
        code=code("gen_gt"),
    shell:
        "python {params.script:q} --settings {params.settings:q} --index {input.index:q}"
        " --cams {input.cams:q} --saliency {input.saliency:q} --folder {params.folder:q}"
        " --manifest {output.manifest:q} --threads {threads} --log {log:q}"


rule refine_labels:
    input:
        index=f"{RESULTS}/data/train/{{shard}}.json",
        predictions=f"{RESULTS}/crf/initial/train/{{shard}}.json",
        initial=f"{RESULTS}/labels/initial/{{shard}}.json",
    output:
        manifest=f"{RESULTS}/labels/refined/{{shard}}.json",
    log:
        f"{RESULTS}/logs/refine_labels/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/refine_labels/{{shard}}.tsv"
    conda:
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    params:
        settings=section("refinement"),
        folder=f"{RESULTS}/labels/refined/images",
        script=script("refine_labels"),
        code=code("refine_labels"),
    shell:
        "python {params.script:q} --settings {params.settings:q} --index {input.index:q}"
        " --predictions {input.predictions:q} --initial {input.initial:q}"
        " --folder {params.folder:q} --manifest {output.manifest:q}"
        " --threads {threads} --log {log:q}"
