# The rules of an experiment, in the order data flows: of this run, or of a run of an ablation.
from pathlib import Path

# The folder of the project. `workflow.basedir` is that of the first Snakefile, which may use this
# one as a module.
PROJECT = Path(workflow.current_basedir).parent


include: "common.smk"
include: "cluster.smk"
include: "inputs.smk"
include: "data.smk"
include: "classifier.smk"
include: "labels.smk"
include: "segmentation.smk"
include: "evaluation.smk"
include: "published.smk"
include: "report.smk"
