"""The one list of all stages: what each does, and where its code, settings and outputs are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A stage; its rule and its script have its name.

    `folder` is the folder of its script below workflow_scripts. `does` says in the past tense what
    the stage did. `settings` is the dotted prefix of its settings; "" means the whole
    configuration, None means no settings. `output` is the folder of its manifests or weights below
    the results. `records` are patterns, below the results, of its manifests, indexes and weights.
    `makes` says what a file of its manifests is.
    """

    name: str
    folder: str
    does: str
    settings: str | None = None
    output: str = ""
    records: tuple[str, ...] = ()
    sharded: bool = False
    training: bool = False
    makes: str = ""

    @property
    def script(self) -> str:
        """The path of the script below workflow_scripts."""
        return f"{self.folder}/{self.name}.py"


_ALL = (
    Stage("render_demo", "data", "drew the demo's photographs, masks and saliency maps",
          settings="dataset.demo.", records=("dataset/manifest.json",)),
    Stage("list_data", "data", "listed the photographs of a data set, and drew the split val",
          settings="dataset.", records=("data/listing.json",)),
    Stage("prepare_data", "data", "indexed the photographs of a split and dealt them out to shards",
          settings="dataset.", records=("data/*.json",)),
    Stage("download_saliency", "data",
          "fetched the saliency maps and compared them with the photographs",
          settings="saliency.", records=("saliency/manifest.json",), makes="saliency map"),
    Stage("compute_saliency", "data", "computed the saliency maps with a network",
          settings="saliency.model.", output="saliency", records=("saliency/*-of-*.json",),
          sharded=True, makes="saliency map"),
    Stage("check_leaks", "data", "looked for ground truth that leaks into training"),
    Stage("preflight", "data", "looked for everything that is known to go wrong later"),
    Stage("train_classifier", "classifier",
          "trained the classifier on image-level labels and saliency",
          settings="classifier.", output="classifier", training=True,
          records=("classifier/weights.safetensors",)),
    Stage("infer_cam", "classifier", "inferred attention maps (CAM) of every image's classes",
          settings="cam.", output="cams", records=("cams/*.json",), sharded=True,
          makes="attention map (CAM)"),
    Stage("classifier_quality", "classifier", "measured the classifier by average precision"),
    Stage("gen_gt", "labels", "made the initial pseudo labels from attention and saliency",
          settings="pseudo_labels.", output="labels/initial", records=("labels/initial/*.json",),
          sharded=True, makes="initial pseudo label"),
    Stage("train_segmentation", "segmentation",
          "trained a segmentation network on the labels of its round",
          settings="segmentation.", output="segmentation", training=True,
          records=("segmentation/*/weights.safetensors",)),
    Stage("predict", "segmentation", "predicted with the segmentation network",
          settings="prediction.", output="predictions", sharded=True, makes="prediction",
          records=("predictions/*/*/*.json", "predictions/*/*/logits/*.json")),
    Stage("crf", "segmentation", "refined the predictions with a dense CRF",
          settings="crf.", output="crf", records=("crf/*/*/*.json",), sharded=True,
          makes="prediction after the CRF"),
    Stage("pack_model", "segmentation", "packed the final network into the model file",
          settings="", records=("model.safetensors",)),
    Stage("refine_labels", "labels",
          "made better pseudo labels from CRF predictions, initial labels and classes",
          settings="refinement.", output="labels/refined", records=("labels/refined/*.json",),
          sharded=True, makes="refined pseudo label"),
    Stage("score", "evaluation", "scored a stage against the ground-truth masks"),
    Stage("sweep", "evaluation", "scored the training labels over the values of a threshold"),
    Stage("saliency_quality", "evaluation",
          "measured the saliency maps against the ground-truth masks"),
    Stage("compare", "evaluation", "compared experiments"),
    Stage("ablation", "evaluation", "compared the variants of an ablation with its base"),
    Stage("fetch_checkpoint", "published", "fetched a published checkpoint and converted it",
          settings="segmentation."),
    Stage("voc_submission", "published", "packed predictions for the VOC test server"),
    Stage("score_table", "report", "put the scores of all stages into one table"),
    Stage("front_page", "report", "made the front page of the report"),
    Stage("plot", "report", "drew the figures of the report"),
    Stage("contact_sheet", "report", "drew sheets of images through all stages"),
    Stage("gallery", "report", "made the gallery of the training photographs", output="gallery",
          records=("gallery/manifest.json",), makes="gallery file"),
    Stage("run_facts", "report", "made the page of run times, provenance and configuration",
          settings=""),
)  # fmt: skip
STAGES = {stage.name: stage for stage in _ALL}

# The order in which the data flows; a stage that runs for each round has the round in its name.
PIPELINE = (
    "train_classifier", "infer_cam", "gen_gt",
    "train_segmentation/initial", "predict/initial/train", "crf/initial/train", "refine_labels",
    "train_segmentation/final", "predict/final/val", "crf/final/val",
)  # fmt: skip

# Name of a score -> split, and the folder of the manifests that are scored.
SCORED = {
    "cam": ("train", "cams"),
    "initial_labels": ("train", "labels/initial"),
    "train_aug_prediction": ("train", "predictions/initial/train"),
    "train_aug_crf": ("train", "crf/initial/train"),
    "refined_labels": ("train", "labels/refined"),
    "initial_val_prediction": ("val", "predictions/initial/val"),
    "initial_val_crf": ("val", "crf/initial/val"),
    "val_prediction": ("val", "predictions/final/val"),
    "val_crf": ("val", "crf/final/val"),
    "published_val_prediction": ("val", "predictions/published/val"),
    "published_val_crf": ("val", "crf/published/val"),
}
# The scores of pseudo labels: a network that is trained on masks has none of them.
PSEUDO_SCORES = ("cam", "initial_labels", "train_aug_prediction", "train_aug_crf", "refined_labels")
FINAL_SCORES = ("val_prediction", "val_crf")
