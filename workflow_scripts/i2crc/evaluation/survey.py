"""Look at somebody's photographs: what they are, and what is wrong with them, with the cure."""

import posixpath
import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from i2crc.config.choices import Choice, Counts, nested
from i2crc.config.load import load_config
from i2crc.config.schema import Config
from i2crc.data.build_index import build_index, mask_name
from i2crc.data.index import Index
from i2crc.data.label_lists import ListRow
from i2crc.data.listing import Listing, list_dataset
from i2crc.data.recognise import Recognised, binary_values
from i2crc.data.saliency import collect, map_sizes
from i2crc.data.splits import near_duplicates, photo_hash
from i2crc.evaluation.amount import Amount
from i2crc.evaluation.data_checks import FEW, check_masks, check_saliency
from i2crc.evaluation.leaks import shared_images
from i2crc.runtime.errors import FileError, Problem, counted, listing
from i2crc.runtime.parallel import map_in_order

# Photographs that are decoded; of more, a sample.
MOST_DECODED = 3000
# Masks whose values are read before all of them are.
MASKS_READ = 50
# Names of folders that hold what was left over.
LEFT_OVER = re.compile(
    r"(new folder|untitled|misc|unsorted|others?|rest|te?mp|trash|backup|old|duplicates?|thumb\w*|"
    r"various|sonstiges|neuer ordner|divers|cache|screen ?shots?|downloads?|__macosx|@eadir)"
    r"( ?\(?\d+\)?)?",
    re.IGNORECASE,
)
# A class with so few photographs, and less than this share of the median class, looks left over.
ODD_SHARE = 0.1


@dataclass
class Survey:
    """What a folder is and holds.

    `choices` say what the data set is. `wrong` are sentences on what is wrong in meaning, while
    `problems` stop a run. `indexes` hold the decoded photographs; `decode` are the seconds of a
    core for each.
    """

    root: Path
    choices: list[Choice]
    config: Config
    listed: Listing
    indexes: dict[str, Index] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    decoded: int = 0
    decode: float = 0.0
    maps: int = 0  # saliency maps that can be used

    @property
    def rows(self) -> list[ListRow]:
        """All photographs with known classes."""
        return [row for split in ("train", "val") for row in self.listed.splits.get(split, [])]

    @property
    def entries(self) -> list[Any]:
        """The decoded photographs."""
        return [entry for index in self.indexes.values() for entry in index.images]

    @property
    def masks(self) -> int:
        """The number of masks of the decoded photographs."""
        return sum(entry.mask is not None for entry in self.entries)

    @property
    def masks_of_val(self) -> bool:
        """Whether masks are drawn from annotated objects, which score val alone."""
        return bool(self.masks) and not self.config.dataset.masks

    @property
    def can_draw(self) -> bool:
        """Whether photographs of val are to be drawn, because none are given."""
        dataset = self.config.dataset
        return dataset.format != "voc" and not dataset.val_list

    def sample(self, config: Config, folder: Path, count: int) -> Index:
        """Return some photographs of all sizes at their working size; `folder` gets copies."""
        entries = sorted(self.entries, key=lambda entry: entry.own_size[0] * entry.own_size[1])
        chosen = {entry.id for entry in entries[:: -(-len(entries) // count)]}
        rows = [row for row in self.rows if row.id in chosen]
        listed = Listing(self.listed.classes, {"train": rows})
        dataset = config.dataset.model_copy(update={"masks": "", "labels_from": "list"})
        return build_index("train", self.root, dataset, folder, 1, listed)

    def amount(self, config: Config) -> Amount:
        """Return how much a run with a configuration works on."""
        train, val = (len(self.listed.splits.get(split, [])) for split in ("train", "val"))
        if config.dataset.is_drawn:
            val = round(train * config.dataset.val_share)
            train -= val
        sizes = [entry.own_size for entry in self.entries]
        scales = [min(1.0, (config.dataset.max_side or max(s)) / max(s)) for s in sizes]
        pixels = [width * height for width, height in sizes]
        working = [count * scale**2 for count, scale in zip(pixels, scales, strict=True)]
        return Amount(
            train=train,
            val=val,
            classes=len(self.listed.classes),
            each=statistics.mean(len(row.classes or ()) for row in self.rows),
            megapixels=statistics.mean(working) / 1e6,
            own_megapixels=statistics.mean(pixels) / 1e6,
            decode=self.decode,
            masks=bool(self.masks),
            saliency=not self.maps,
        )

    def counts(self) -> Counts:
        """Return the numbers that settings depend on."""
        train = self.listed.splits.get("train", [])
        numbers = Counter(c for row in train for c in row.classes or ())
        sides = [max(entry.own_size) for entry in self.entries]
        classes = [numbers[c] for c in range(len(self.listed.classes))]
        return Counts(len(train), classes, sides, self.masks_of_val)


def survey(found: Recognised, threads: int) -> Survey:
    """Return what a folder of photographs holds; raise InputError if no photograph can be used."""
    root = found.root
    config = load_config(nested(found.choices), str(root))
    outside = [Path(name) for name in (config.results, config.saliency.location) if name]
    listed = list_dataset(root, config.dataset, outside)
    if not listed.splits.get("train") or not listed.classes:
        problems = "\n".join(map(str, listed.problems))
        raise FileError(root, "no photograph with a class to train on", problems or "add some")
    _choose_binary(found, listed, config)
    config = load_config(nested(found.choices), str(root))
    result = Survey(root, found.choices, config, listed, wrong=[*found.wrong])
    result.problems += listed.problems
    result.wrong += [text for text in listed.warnings if not text.endswith("ignored")]
    result.wrong += _odd_classes(result)
    with TemporaryDirectory() as name:
        _decode(result, Path(name), threads)
        _check_saliency(result, Path(name), threads)
    if result.masks and (folder := config.dataset.masks):
        reason = f'"{folder}": learn from the {result.masks} masks, too, which is more supervision'
        result.choices.append(Choice("dataset.trusted_masks", "", reason))
    result.wrong += _near_duplicates(result, threads)
    train, val = result.indexes.get("train"), result.indexes.get("val")
    if train and val:
        result.problems += shared_images(train, val)
    for index in result.indexes.values():
        wrong, warnings = check_masks(index, root / config.dataset.masks)
        result.wrong += [*map(str, wrong), *warnings]
    return result


def _choose_binary(found: Recognised, listed: Listing, config: Config) -> None:
    """Set dataset.binary_masks if the masks show objects, but not of which class."""
    dataset = config.dataset
    if not dataset.masks or dataset.format == "coco":
        return
    rows = [row for rows in listed.splits.values() for row in rows]
    folder = found.root / dataset.masks
    files = [folder / mask_name(dataset.mask_pattern, row.id) for row in rows]
    files = [path for path in files if path.is_file()]
    values = binary_values(files[:: max(1, len(files) // MASKS_READ)], len(listed.classes))
    if not values:
        return
    several = [row.id for row in rows if len(row.classes or ()) > 1]
    text = f"{folder}: the masks hold {' and '.join(map(str, values))}, so they do not say which "
    text += "class an object has"
    found.add("dataset.binary_masks", True, f"the masks hold {' and '.join(map(str, values))}")
    cure = "the configuration sets dataset.binary_masks: true, which takes the one class of the "
    cure += "photograph (a mask of a photograph with several classes is refused"
    cure += f": {listing(several)})" if several else ")"
    found.wrong.append(f"{text}; {cure}")


def _odd_classes(found: Survey) -> list[str]:
    """Return sentences on folders that look left over, and on classes with few photographs."""
    train = found.listed.splits.get("train", [])
    numbers = Counter(c for row in train for c in row.classes or ())
    counts = [numbers[c] for c in range(len(found.listed.classes))]
    median = statistics.median(counts)
    wrong, few = [], []
    is_folders = found.config.dataset.format == "folders"
    for name, count in zip(found.listed.classes, counts, strict=True):
        is_odd = count <= 2 and count < ODD_SHARE * median
        if is_folders and (LEFT_OVER.fullmatch(name) or is_odd):
            wrong.append(
                f"{found.root / found.config.dataset.images / name}: looks like a folder of stray "
                f"files, but counts as a class with {counted(count, 'photograph')}; move it "
                "elsewhere, or call it _none if its photographs show none of the classes"
            )
        elif count < FEW:
            few.append(f"{name} ({count})")
    if few:
        wrong.append(
            f"fewer than {FEW} photographs to train of {listing(few)}: too few to learn from; add "
            "some, or leave the class out"
        )
    if len(counts) == 1 and not any(row.classes == [] for row in found.rows):
        wrong.append(
            f"every photograph shows {found.listed.classes[0]}: a classifier learns where it is "
            "only from photographs without it, too; put some into a folder _none"
        )
    return wrong


def _decode(found: Survey, folder: Path, threads: int) -> None:
    """Decode the photographs and masks, and take down their problems."""
    step = -(-len(found.rows) // MOST_DECODED)
    sample = {split: rows[::step] for split, rows in found.listed.splits.items() if rows}
    listed = replace(found.listed, splits=sample, problems=[], warnings=[])
    dataset = found.config.dataset.model_copy(update={"max_side": 0})
    begin = time.perf_counter()
    for split in sample:
        if split != "test":
            index = build_index(split, found.root, dataset, folder, threads, listed)
            found.indexes[split] = index
            found.problems += index.problems
            found.decoded += len(sample[split])
    found.decode = (time.perf_counter() - begin) * threads / max(1, found.decoded)
    found.wrong += [text for index in found.indexes.values() for text in index.warnings]
    if not found.entries:
        problems = "\n  ".join(map(str, found.problems[:10]))
        raise FileError(found.root, "no photograph can be used", problems or "look at them")


def _check_saliency(found: Survey, folder: Path, threads: int) -> None:
    """Look at the saliency maps, and do without them if they are not good for all photographs."""
    location = found.config.saliency.location
    index = found.indexes["train"]
    if not location or not Path(location).is_dir():
        found.maps = len(index.images) if location else 0  # those of an archive are not looked at
        return
    sizes = map_sizes(replace(index, left_out=[]))
    masks = {entry.id: entry.mask for entry in index.images if entry.mask}
    masks = {} if found.config.dataset.binary_masks else masks
    maps, problems, facts = collect(Path(location), sizes, folder / "maps", threads, masks=masks)
    found.maps = len(maps) - len(facts["constant"])
    wrong, warnings = check_saliency({**facts, "count": len(maps), "source": location})
    reason = ""
    if 2 * len(facts["constant"]) > len(maps):
        reason = f"{len(facts['constant'])} of {len(maps)} maps show no object"
    elif problems:
        reason = f"{counted(len(problems), 'map')} cannot be used ({problems[0]})"
    if reason:
        cure = "the configuration computes all maps (saliency.source: model)"
        found.wrong.append(f"{location}: {reason}; {cure}")
        found.choices[:] = [c for c in found.choices if c.key != "saliency.location"]
        found.choices.append(Choice("saliency.source", "model", f"of {location}, {reason}"))
        found.maps = 0
        found.config = load_config(nested(found.choices), str(found.root))
    else:
        found.wrong += [*map(str, wrong), *warnings]


def _near_duplicates(found: Survey, threads: int) -> list[str]:
    """Return sentences on photographs that are nearly the same, but differ in class or split."""
    dataset = found.config.dataset
    folder = found.root / dataset.images
    splits = {row.id: split for split, rows in found.listed.splits.items() for row in rows}
    by_id = {row.id: row for row in found.rows}
    rows = [by_id[entry.id] for entry in found.entries]

    def path(row: ListRow) -> Path:
        return folder / (row.file or f"{row.id}{dataset.image_suffix}")

    hashes = list(map_in_order(lambda row: photo_hash(path(row), dataset), rows, threads))
    groups: Mapping[int, list[ListRow]] = defaultdict(list)
    for row, group in zip(rows, near_duplicates(hashes), strict=True):
        groups[group].append(row)
    classes = found.listed.classes
    across: dict[str, list[str]] = {"classes": [], "splits": []}
    for alike in groups.values():
        if len({tuple(row.classes or ()) for row in alike}) > 1:
            across["classes"].append(_shown(alike, classes))
        if len({splits[row.id] for row in alike}) > 1:
            across["splits"].append(_shown(alike, classes))
    wrong = []
    if across["classes"]:
        wrong.append(
            f"nearly the same photograph has different classes ({listing(across['classes'])}): "
            "delete the copies with the wrong class, or give each all of its classes"
        )
    if across["splits"]:
        wrong.append(
            f"nearly the same photograph is in train and in val ({listing(across['splits'])}): the "
            "scores of val are too good; take it out of one of the lists"
        )
    return wrong


def _shown(rows: Sequence[ListRow], classes: list[str]) -> str:
    """Return photographs as text, two of them, with their classes."""
    names = []
    for row in rows[:2]:
        own = ", ".join(classes[c] for c in row.classes or ()) or "no class"
        names.append(f"{row.id}: {own}")
    return " = ".join(names)


def describe(found: Survey) -> list[str]:
    """Return what the folder holds, in lines."""
    rows, names = found.rows, found.listed.classes
    numbers = Counter(c for row in rows for c in row.classes or ())
    each = listing([f"{name} ({numbers[c]})" for c, name in enumerate(names)])
    files = Counter(posixpath.splitext(e.photograph.image)[1].lower() for e in found.entries)
    sides = sorted(found.entries, key=lambda entry: entry.own_size[0] * entry.own_size[1])
    sizes = ["{}x{}".format(*sides[n].own_size) for n in (0, len(sides) // 2, -1)]
    negatives = sum(row.classes == [] for row in rows)
    splits = [f"{len(some)} {split}" for split, some in found.listed.splits.items()]
    use = "to score (dataset.trusted_masks: to learn from, too)"
    if found.masks_of_val and "val" in found.config.dataset.splits:
        use = "in the annotations; those of val are scored"
    elif found.masks_of_val:
        use = "but nothing is scored: they could score val alone, and dataset.val_share is 0"
    lines = [
        f"{counted(len(rows), 'photograph')} ({', '.join(splits)})",
        f"{counted(len(names), 'class', 'classes')}: {each}",
        f"{negatives} show none of the classes" if negatives else "",
        f"endings: {', '.join(f'{count} {name}' for name, count in files.most_common())}",
        f"pixels: smallest {sizes[0]}, median {sizes[1]}, largest {sizes[2]}",
        f"masks: {found.masks}, {use}" if found.masks else "masks: none",
        f"saliency maps: {found.maps}" if found.maps else "saliency maps: none, they are computed",
    ]
    lines += [text for text in found.listed.warnings if text.endswith("ignored")]
    if found.decoded < len(rows):
        lines.append(f"a sample of {found.decoded} photographs was decoded to see this")
    return [line for line in lines if line]
