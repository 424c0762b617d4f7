# The figures, pages and pictures of the report (snakemake --report).
SCORE_FILE = f"{RESULTS}/scores/{{stage}}.json"
SHOWN_SCORES = expand(SCORE_FILE, stage=PIPELINE_STAGES[-3:])
TRAININGS = ["segmentation/final"]
# File below report/ -> figure (see plot.py), category and label in the report, what it shows.
FIGURES = {}
if SHOWN_SCORES:
    FIGURES["iou_per_class.svg"] = ("classes", "1 Scores", "2 IoU of each class", SHOWN_SCORES)
if HAS_VAL:
    confusion = ("confusion", "1 Scores", "3 Confusion matrix (val, CRF)", SHOWN_SCORES[-1:])
    FIGURES["confusion.svg"] = confusion
if PSEUDO:
    TRAININGS = ["classifier", "segmentation/initial", *TRAININGS]
    INPUTS = "3 Thresholds and inputs"
    SWEPT = expand(f"{RESULTS}/sweeps/{{parameter}}.json", parameter=SWEEPS)
    QUALITY = [*rules.saliency_quality.output]
    QUALITY += rules.classifier_quality.output if HAS_VAL else []
    FIGURES |= {
        "sweeps.svg": ("sweeps", INPUTS, "1 Threshold sweeps, curves", SWEPT),
        "sweeps.html": ("sweep_table", INPUTS, "2 Threshold sweeps, fixed beside oracle", SWEPT),
        "quality.html": ("quality", INPUTS, "3 Saliency maps and classifier", QUALITY),
    }
for folder in TRAININGS:
    FIGURES[f"training_{Path(folder).name}.svg"] = (
        "training",
        "2 Trainings",
        Path(folder).name,
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
# Without ground truth there is nothing to rank images by.
HAS_MASKS = CONFIG.dataset.masks or CONFIG.dataset.format == "coco"
SHEET_KINDS = ["best", "median", "worst"] if HAS_MASKS else ["sample"]


rule score_table:
    input:
        scores=expand(SCORE_FILE, stage=PIPELINE_STAGES),
        leaks=rules.check_leaks.output,
        preflight=PREFLIGHT,
        weights=WEIGHTS,
    output:
        markdown=f"{RESULTS}/scores/table.md",
        html=report(
            f"{RESULTS}/scores/table.html",
            category="1 Scores",
            caption="report/scores.rst",
            labels={"figure": "1 Table of all stages"},
        ),
        fragment=f"{RESULTS}/report/landing.html",
    log:
        f"{RESULTS}/logs/score_table.log",
    conda:
        ENVIRONMENT
    params:
        script=script("score_table"),
        code=code("score_table"),
    shell:
        "python {params.script:q} --scores {input.scores:q} --leaks {input.leaks:q}"
        " --preflight {input.preflight:q} --weights {input.weights:q} --output {output.markdown:q}"
        " --html {output.html:q} --fragment {output.fragment:q} --log {log:q}"


rule plot:
    input:
        sorted({path for *_, inputs in FIGURES.values() for path in inputs}),
    output:
        [
            report(
                f"{RESULTS}/report/{name}",
                category=category,
                caption=f"report/{figure}.rst",
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
                f"{RESULTS}/report/sheets/{{split}}_{kind}.png",
                category="4 Pictures",
                caption="report/sheet.rst",
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
            caption="report/run.rst",
            labels={"page": "Run times, provenance, configuration"},
        ),
    log:
        f"{RESULTS}/logs/run_facts.log",
    conda:
        ENVIRONMENT
    params:
        config=as_json(
            CONFIG.model_dump(exclude={"runtime": True, "compare": True, "saliency": {"retries"}})
        ),
        benchmarks=f"{RESULTS}/benchmarks",
        script=script("run_facts"),
        code=code("run_facts"),
    shell:
        "python {params.script:q} --config {params.config:q}"
        " --benchmarks {params.benchmarks:q} --artifacts {input:q} --output {output:q}"
        " --log {log:q}"


REPORT = [
    rules.score_table.output.html,
    *rules.plot.output,
    *expand(rules.contact_sheet.output, split=SHEET_RANKING),
    *rules.run_facts.output,
]
