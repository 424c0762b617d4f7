# Saliency maps: fetched, looked at beside every training image, laid out.
SALIENCY = CONFIG.saliency.source or (
    str(rules.render_demo.output.archive) if IS_DEMO else f"{DATA_ROOT}/saliency"
)


def saliency_files():
    """The digest of the user's saliency maps: of an archive, or of those maps that are needed."""
    path = local_path(SALIENCY)
    if not path or not (CONFIG.saliency.source or CONFIG.dataset.root):
        return ""  # from the web; drawn, and read as an input
    return outside(*(listed("train", path) if path.is_dir() else [str(path)]))


def saliency_place():
    """Where the maps come from, the same for whoever names it."""
    path = local_path(SALIENCY)
    return str(path.resolve()) if path else SALIENCY


checkpoint download_saliency:
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
    resources:
        retries=CONFIG.saliency.retries,
        downloads=downloads("saliency/cache"),
        findings=findings(
            "saliency/maps.findings",
            saliency_place(),
            CONFIG.dataset.max_pixels,
            code("download_saliency"),
        ),
    params:
        source=lambda wildcards: SALIENCY,
        outside=saliency_files(),
        sha256=CONFIG.saliency.sha256,
        max_pixels=CONFIG.dataset.max_pixels,
        folder=f"{RESULTS}/saliency/maps",
        cache=f"{RESULTS}/saliency/cache",
        code=code("download_saliency"),
        content=content("download_saliency"),
    shell:
        "python workflow_scripts/download_saliency.py --source {params.source:q}"
        " --sha256={params.sha256:q} --retries {resources.retries} --index {input.index:q}"
        " --cache {params.cache:q} --downloads {resources.downloads:q}"
        " --max-pixels {params.max_pixels} --findings {resources.findings:q}"
        " --output {params.folder:q} --manifest {output.manifest:q}"
        " --threads {threads} --log {log:q}"
