# What the rules read, where a plain path does not say it: the user's files, caches, earlier stages.
SPLITS = ("train", "val", "dev", "test")
DRAWING = {"val_share", "split_seed"}
NETWORKS = ("classifier", "segmentation")
INITIAL_WEIGHTS = as_json({name: getattr(CONFIG, name).weights.model_dump() for name in NETWORKS})

CHECKED_SPLITS = CONFIG.dataset.splits
HAS_VAL = "val" in CHECKED_SPLITS
DEV_INDEX = [f"{RESULTS}/data/dev.json"] if "dev" in CHECKED_SPLITS else []
MASKS = ["--masks", f"{DATA_ROOT}/{CONFIG.dataset.masks}"] if CONFIG.dataset.masks else []
# Nothing expensive runs before these; what they say changes nothing that follows.
PREFLIGHT = f"{RESULTS}/preflight/pipeline.json"
PREFLIGHT_PUBLISHED = f"{RESULTS}/preflight/published.json"
# The archive or folder of the saliency maps, if a network does not compute them; the demo draws its
# own.
DEMO_ARCHIVE = f"{RESULTS}/dataset/saliency.tar.gz"
SALIENCY = CONFIG.saliency.location or (DEMO_ARCHIVE if IS_DEMO else f"{DATA_ROOT}/saliency")
HAS_MAPS = IS_DEMO or CONFIG.saliency.location or Path(SALIENCY).is_dir()
IS_COMPUTED = CONFIG.saliency.source == "model" or not (CONFIG.saliency.source or HAS_MAPS)
SALIENCY_OF_SHARD = f"{RESULTS}/saliency/{'{shard}' if IS_COMPUTED else 'manifest'}.json"
SALIENCY_MANIFESTS = shards("saliency") if IS_COMPUTED else [SALIENCY_OF_SHARD]
SALIENCY_MODEL = (
    ["--saliency-model", CONFIG.saliency.model.model_dump_json()] if IS_COMPUTED else []
)


def checked_settings(networks):
    """Return what decides whether networks can be built, and how large their files become."""
    keys = ["backbone", "output_stride", "backbone_stage", "weights", "head_convs", "head_channels"]
    keys += ["freeze_stages", "average_last", "aspp_rates", "supervision"]
    keys = dict.fromkeys(keys, True) | {"optimizer": {"name"}}
    return as_json({name: getattr(CONFIG, name).model_dump(include=keys) for name in networks})


def has_masks():
    """Return whether the folder of the ground truth is there; the demo draws it."""
    return IS_DEMO or Path(DATA_ROOT, CONFIG.dataset.masks).is_dir()


def names_masks(settings):
    """Return whether settings name ground truth to score with; a file of the format coco has it."""
    return bool(settings.dataset.masks) or settings.dataset.format == "coco"


def data_set(wildcards):
    """Return what is drawn before a split is indexed; raise WorkflowError if there is no data set.

    An index that was made before is enough to look at results, for example for a report.
    """
    name = f"{wildcards.split}_list"
    if not Path(f"{RESULTS}/data/{wildcards.split}.json").exists():
        if wildcards.split not in CHECKED_SPLITS:
            raise WorkflowError(
                f"dataset.{name} is empty (none), but the target needs these images: name their list, "
                "or choose another target, such as final_segmentation"
            )
        if not IS_DEMO and not Path(DATA_ROOT).is_dir():
            raise WorkflowError(
                f"dataset.root: {DATA_ROOT}: {no_such('folder', DATA_ROOT)}; give yours with --config "
                "dataset='{root: FOLDER}'"
            )
    return rules.render_demo.output.manifest if IS_DEMO else []


def compared_experiments(wildcards):
    """Return no file; raise WorkflowError if an experiment to compare has no scores."""
    from i2crc.evaluation.comparison import read_experiments  # only here: it takes 0.3 s

    try:
        read_experiments([Path(folder) for folder in CONFIG.compare.experiments])
    except InputError as error:
        raise WorkflowError(str(error)) from None
    return []


def ablation_scores(wildcards):
    """Return the scores of all runs; raise WorkflowError without a variant or without masks."""
    if not ABLATION_RUNS:
        raise WorkflowError(
            "ablation.variants is empty, but the target ablation needs some; name them as "
            "config/ablation.yaml does, and give that file after yours: --configfile mine.yaml "
            "config/ablation.yaml"
        )
    if not any(names_masks(run.config) for run in ABLATION_RUNS):
        raise WorkflowError(
            "dataset.masks is empty (none), but the target ablation compares scores: name the folder "
            "of the masks of some photographs, such as those of val"
        )
    return [
        f"{run.folder}/scores/{stage}.json"
        for run in ABLATION_RUNS
        for stage in scored_stages(run.config)
    ]


def index_settings(wildcards):
    """Return the settings of the data set, without its name and the lists of other splits."""
    others = {f"{split}_list" for split in SPLITS if split != wildcards.split}
    others |= {"trusted_masks", "corrections"} if wildcards.split != "train" else set()
    return json.dumps(CONFIG.dataset.model_dump(exclude={"name", "demo", *DRAWING, *others}))


def listing_settings(wildcards):
    """Return the settings of the data set that decide which photographs, classes, splits it has."""
    keys = {"format", "root", "images", "masks", "trusted_masks", "classes", "max_pixels", *DRAWING}
    keys |= {"corrections", *(f"{split}_list" for split in SPLITS)}
    return json.dumps(CONFIG.dataset.model_dump(include=keys))


def split_files(split):
    """Return `files` of what the index of a split is made from: list, photographs and masks."""
    settings = CONFIG.dataset
    own = [settings.trusted_masks, settings.corrections] if split == "train" else []
    if IS_DEMO:
        return files_below_root(*filter(None, own)) if any(own) else "demo"
    read = [settings.images, *filter(None, [settings.masks, *own])]
    return files_below_root(getattr(settings, f"{split}_list"), "classes.txt", *read)


def files_below_root(*names):
    """Return `files` of files and folders below the root of the data set."""
    return files(*(str(Path(DATA_ROOT, name)) for name in names))


def listed_files():
    """Return `files` of what a data set is listed from, which is not of the format voc."""
    settings = CONFIG.dataset
    lists = [getattr(settings, f"{split}_list") for split in SPLITS]
    return files_below_root("classes.txt", settings.images, "Annotations", *filter(None, lists))


def without_photographs():
    """Return the folders whose pictures are no photographs, wherever they lie."""
    maps = local_path(SALIENCY)
    return [*OUTPUT_FOLDERS, *([str(maps)] if maps else [])]


def weight_files(weights):
    """Return `files` of a pretrained weight file of the user's."""
    return files(weights.name) if weights.source == "file" else ""


def saliency_model_file():
    """Return `files` of the network of the user's that computes saliency maps."""
    path = CONFIG.saliency.model.path
    return files(path) if path and IS_COMPUTED else ""


def saliency_files():
    """Return `files` of the user's saliency maps; the demo's are an input."""
    return "" if SALIENCY == DEMO_ARCHIVE else source_files(SALIENCY)


def transfers(own, sha256):
    """Return the folder that a file is fetched into; a file with a digest can be shared."""
    return shared(own, "downloads") if sha256 else f"{RESULTS}/{own}"


def preflight_of_round(wildcards):
    """Return what has to be checked before a round predicts."""
    return PREFLIGHT_PUBLISHED if wildcards.round == "published" else PREFLIGHT


def weights(round_name):
    """Return the trained weights of a round, and the classifier's before the first."""
    classifier = [f"{RESULTS}/classifier/weights.safetensors"] if round_name == "initial" else []
    return [*classifier, f"{RESULTS}/segmentation/{round_name}/weights.safetensors"]


def predictions(round_name, split):
    """Return the manifests of a round's predictions, their logits and their CRF."""
    place = f"{round_name}/{split}"
    folders = (f"predictions/{place}", f"predictions/{place}/logits", f"crf/{place}")
    return [manifest for folder in folders for manifest in shards(folder)]
