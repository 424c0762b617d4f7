# The front page, figures and pages of the report (snakemake --report).
#
# Every figure is an HTML page that begins with its caption: the block `caption` of its template in
# workflow_scripts/i2crc/report/templates (a drawing has one that extends figure.html). The report
# sorts categories and labels by name, hence their numbers.
SCORE_FILE = f"{RESULTS}/scores/{{stage}}.json"
SHOWN_SCORES = expand(SCORE_FILE, stage=PIPELINE_STAGES[-3:])
TRAININGS = ["segmentation/final"]
# Page below report/ -> figure (see plot.py), category and label in the report, what it shows.
FIGURES = {}
if SHOWN_SCORES:
    FIGURES["iou_per_class.html"] = ("classes", "1 Scores", "2 IoU of each class", SHOWN_SCORES)
    SIZED = [stage for stage in PIPELINE_STAGES if stage in ("cam", "refined_labels", "val_crf")]
    SIZED = expand(SCORE_FILE, stage=SIZED)
    FIGURES["object_sizes.html"] = ("sizes", "1 Scores", "4 Errors by object size", SIZED)
if HAS_VAL:
    confusion = ("confusion", "1 Scores", "3 Confusion matrix (val, CRF)", SHOWN_SCORES[-1:])
    FIGURES["confusion.html"] = confusion
if PSEUDO:
    SECOND = [] if ONE_ROUND else TRAININGS
    TRAININGS = ["classifier", "segmentation/initial", *SECOND]
    INPUTS = "3 Thresholds and inputs"
    SWEPT = expand(f"{RESULTS}/sweeps/{{parameter}}.json", parameter=SWEEPS)
    QUALITY = [*rules.saliency_quality.output]
    QUALITY += rules.classifier_quality.output if HAS_VAL else []
    FIGURES |= {
        "sweep_curves.html": ("sweep_curves", INPUTS, "1 Threshold sweeps, curves", SWEPT),
        "sweeps.html": ("sweep_table", INPUTS, "2 Threshold sweeps, fixed beside oracle", SWEPT),
        "quality.html": ("quality", INPUTS, "3 Saliency maps and classifier", QUALITY),
    }
for number, folder in enumerate(TRAININGS, start=1):
    FIGURES[f"training_{Path(folder).name}.html"] = (
        "training",
        "2 Trainings",
        f"{number} {', '.join(Path(folder).parts)}",
        [f"{RESULTS}/{folder}/history.csv"],
    )
WEIGHTS = [f"{RESULTS}/{folder}/weights.safetensors" for folder in TRAININGS]
# Split -> the stage by whose scores its images are ranked.
SHEET_RANKING = {
    **({"val": "val_crf"} if HAS_VAL else {}),
    **({"train": "refined_labels"} if PSEUDO else {}),
}
# Split -> column of its sheets -> manifests.
SHEETS = {
    "val": {
        "prediction": shards("predictions/final/val"),
        "CRF": shards("crf/final/val"),
    },
    "train": {
        "saliency": SALIENCY_MANIFESTS,
        "cam": shards("cams"),
        "initial label": shards("labels/initial"),
        "prediction": shards("predictions/initial/train"),
        "CRF": shards("crf/initial/train"),
        "refined label": shards("labels/refined"),
    },
}
# What the front page shows photographs of, as options of its script.
SHOWN_SPLITS = [
    ["--split", split, f"{RESULTS}/data/{split}.json", f"{RESULTS}/scores/{stage}.images.csv"]
    for split, stage in sorted(SHEET_RANKING.items())
]
SHOWN_COLUMNS = [
    ["--column", split, title, *manifests]
    for split in sorted(SHEET_RANKING)
    for title, manifests in SHEETS[split].items()
]
# Without ground truth there is nothing to rank images by.
SHEET_KINDS = ["best", "median", "worst"] if names_masks(CONFIG) else ["sample"]


rule score_table:
    input:
        scores=expand(SCORE_FILE, stage=PIPELINE_STAGES),
        images=expand(rules.score.output.images, stage=PIPELINE_STAGES),
        index=f"{RESULTS}/data/train.json",
        leaks=rules.check_leaks.output,
        preflight=PREFLIGHT,
        weights=WEIGHTS,
    output:
        markdown=f"{RESULTS}/scores/table.md",
        html=report(
            f"{RESULTS}/scores/table.html",
            category="1 Scores",
            labels={"figure": "1 Table of all stages"},
        ),
    log:
        f"{RESULTS}/logs/score_table.log",
    conda:
        ENVIRONMENT
    params:
        bootstrap=CONFIG.evaluation.bootstrap,
        script=script("score_table"),
        code=code("score_table"),
    shell:
        "python {params.script:q} --scores {input.scores:q} --images {input.images:q}"
        " --bootstrap {params.bootstrap} --index {input.index:q}"
        " --leaks {input.leaks:q} --preflight {input.preflight:q} --weights {input.weights:q}"
        " --output {output.markdown:q} --html {output.html:q}"
        " --log {log:q}"


rule front_page:
    input:
        scores=expand(SCORE_FILE, stage=PIPELINE_STAGES),
        images=expand(rules.score.output.images, stage=PIPELINE_STAGES),
        leaks=rules.check_leaks.output,
        preflight=PREFLIGHT,
        weights=WEIGHTS,
        histories=[f"{RESULTS}/{folder}/history.csv" for folder in TRAININGS],
        splits=[file for words in SHOWN_SPLITS for file in words[2:]],
        columns=[file for words in SHOWN_COLUMNS for file in words[3:]],
    output:
        f"{RESULTS}/report/landing.html",
    log:
        f"{RESULTS}/logs/front_page.log",
    conda:
        ENVIRONMENT
    params:
        results=subpath(output[0], ancestor=2),
        bootstrap=CONFIG.evaluation.bootstrap,
        splits=[word for words in SHOWN_SPLITS for word in words],
        columns=[word for words in SHOWN_COLUMNS for word in words],
        script=script("front_page"),
        code=code("front_page"),
    shell:
        "python {params.script:q} --results {params.results:q} --scores {input.scores:q}"
        " --images {input.images:q} --bootstrap {params.bootstrap}"
        " --leaks {input.leaks:q} --preflight {input.preflight:q} --weights {input.weights:q}"
        " --histories {input.histories:q} {params.splits:q} {params.columns:q}"
        " --output {output:q} --log {log:q}"


rule plot:
    input:
        sorted({path for *_, inputs in FIGURES.values() for path in inputs}),
    output:
        [
            report(
                f"{RESULTS}/report/{name}",
                category=category,
                labels={"figure": label},
            )
            for name, (figure, category, label, _) in FIGURES.items()
        ],
    log:
        f"{RESULTS}/logs/plot.log",
    conda:
        ENVIRONMENT
    params:
        figures=lambda wildcards: [
            word
            for name, (figure, _, _, inputs) in FIGURES.items()
            for word in ("--figure", figure, f"{RESULTS}/report/{name}", *inputs)
        ],
        script=script("plot"),
        code=code("plot"),
    shell:
        "python {params.script:q} {params.figures:q} --log {log:q}"


rule contact_sheet:
    input:
        index=f"{RESULTS}/data/{{split}}.json",
        images=lambda wildcards: f"{RESULTS}/scores/{SHEET_RANKING[wildcards.split]}.images.csv",
        manifests=lambda wildcards: sum(SHEETS[wildcards.split].values(), []),
    output:
        [
            report(
                f"{RESULTS}/report/sheets/{{split}}_{kind}.html",
                category="4 Pictures",
                labels={"split": "{split}", "images": kind},
            )
            for kind in SHEET_KINDS
        ],
    log:
        f"{RESULTS}/logs/contact_sheet/{{split}}.log",
    conda:
        ENVIRONMENT
    params:
        columns=lambda wildcards: [
            word
            for name, manifests in SHEETS[wildcards.split].items()
            for word in ("--column", name, *manifests)
        ],
        kinds=SHEET_KINDS,
        images=CONFIG.evaluation.sheet_images,
        script=script("contact_sheet"),
        code=code("contact_sheet"),
    shell:
        "python {params.script:q} --index {input.index:q}"
        " --images-csv {input.images:q} --kinds {params.kinds} --count {params.images}"
        " {params.columns:q} --outputs {output:q} --log {log:q}"


# What people look through: every training photograph, and which to exclude or relabel.
rule gallery:
    input:
        index=f"{RESULTS}/data/train.json",
        saliency=SALIENCY_MANIFESTS,
        cams=shards("cams"),
        initial=shards("labels/initial"),
        refined=shards("labels/refined"),
        predictions=shards("predictions/initial/train"),
        logits=shards("predictions/initial/train/logits"),
        images=f"{RESULTS}/scores/refined_labels.images.csv",
    output:
        manifest=f"{RESULTS}/gallery/manifest.json",
        page=f"{RESULTS}/gallery/index.html",
        photos=f"{RESULTS}/gallery/photos.js",
    log:
        f"{RESULTS}/logs/gallery.log",
    conda:
        ENVIRONMENT
    threads: RUNTIME.inference_threads
    params:
        experiment=CONFIG.experiment,
        script=script("gallery"),
        code=code("gallery"),
    shell:
        "python {params.script:q} --experiment={params.experiment:q} --index {input.index:q}"
        " --saliency {input.saliency:q} --cams {input.cams:q} --initial {input.initial:q}"
        " --refined {input.refined:q} --predictions {input.predictions:q}"
        " --logits {input.logits:q} --images-csv {input.images:q}"
        " --manifest {output.manifest:q} --page {output.page:q} --photos {output.photos:q}"
        " --threads {threads} --log {log:q}"


rule run_facts:
    input:
        # Every artifact whose provenance the page lists.
        expand(rules.prepare_data.output.index, split=CHECKED_SPLITS),
        rules.check_leaks.output,
        SALIENCY_MANIFESTS if PSEUDO else [],
        WEIGHTS,
        [manifest for stage in PIPELINE_STAGES for manifest in shards(SCORED[stage][1])],
        expand(SCORE_FILE, stage=PIPELINE_STAGES),
    output:
        report(
            f"{RESULTS}/report/run.html",
            category="5 The run",
            labels={"page": "Run times, provenance, configuration"},
        ),
    log:
        f"{RESULTS}/logs/run_facts.log",
    conda:
        ENVIRONMENT
    params:
        config=as_json(
            CONFIG.model_dump(
                exclude={
                    "runtime": True,
                    "compare": True,
                    "ablation": True,
                    "saliency": {"retries"},
                }
            )
        ),
        benchmarks=f"{RESULTS}/benchmarks",
        script=script("run_facts"),
        code=code("run_facts"),
    shell:
        "python {params.script:q} --config {params.config:q}"
        " --benchmarks {params.benchmarks:q} --artifacts {input:q} --output {output:q}"
        " --log {log:q}"


REPORT = [
    *rules.front_page.output,
    rules.score_table.output.html,
    *rules.plot.output,
    *expand(rules.contact_sheet.output, split=SHEET_RANKING),
    *(rules.gallery.output if PSEUDO else []),
    *rules.run_facts.output,
]
