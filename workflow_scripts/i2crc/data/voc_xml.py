"""The format `voc-xml`: an XML file for each photograph, as VOC and LabelImg write them."""

import posixpath
from pathlib import Path
from xml.etree import ElementTree

from i2crc.config.schema import composed
from i2crc.data.index import collecting
from i2crc.data.label_lists import read_text
from i2crc.data.labelled import Labelled, Labels, means_none
from i2crc.data.photographs import Photographs
from i2crc.runtime.errors import FileError

ANNOTATIONS = "Annotations"


def read_annotations(source: Path, photographs: Photographs, _known: list[str]) -> Labels:
    """Return the photographs of a folder of XML files, or of a list of ids (ImageSets/Main).

    The XML files of a list are in the folder Annotations, beside ImageSets or the list.
    """
    labels = Labels()
    with collecting(labels.problems):
        files = {file: str(file) for file in sorted(source.rglob("[!.]*.xml"))}
        if source.is_file():
            files = _listed(source)
        elif not source.is_dir():
            remedy = "set dataset.train_list to the folder of the XML files, or to a list of ids"
            raise FileError(source, "no such file or folder", remedy)
        if not files:
            raise FileError(source, "no XML file in it", "correct dataset.train_list")
        for file, place in files.items():
            with collecting(labels.problems):
                root = _parse(file, place)
                name = _photograph(file, source, root, photographs, place)
                if before := labels.photographs.get(name):
                    remedy = "correct the <filename> of one of them, or delete it"
                    raise FileError(file, f"{name} is annotated twice: {before.place} too", remedy)
                texts = [one.findtext("name", "").strip() for one in root.iterfind("object")]
                if "" in texts:
                    raise FileError(file, "has an object without a name", "write its class there")
                labels.photographs[name] = Labelled({*map(composed, texts)}, str(file))
    found = {label for one in labels.photographs.values() for label in one.labels}
    labels.classes = sorted(label for label in found if not means_none(label))
    return labels


def _photograph(
    file: Path, source: Path, root: ElementTree.Element, photographs: Photographs, place: str
) -> str:
    """Return the photograph of an XML file: by the file's path, its <filename>, or its own name.

    The path is that below Annotations, else below the folder of the photographs, else below source.
    """
    folders = [above for above in file.parents if above.name == ANNOTATIONS]
    bases = [*folders, photographs.folder, source]
    base = next(folder for folder in bases if file.is_relative_to(folder))
    path = file.relative_to(base).with_suffix("").as_posix()
    named = root.findtext("filename", "").strip() or file.stem
    ways = (path, posixpath.join(posixpath.dirname(path), named), named, file.stem)
    found = next(filter(None, map(photographs.get, ways)), None)
    return found or photographs.find(named, place)


def _listed(file: Path) -> dict[Path, str]:
    """Return XML file -> line of a list of ids; raise FileError if the files have no folder."""
    folders = [above / ANNOTATIONS for above in file.parents[:3]]
    folder = next((one for one in folders if one.is_dir()), None)
    if folder is None:
        remedy = f"put the XML files into a folder {ANNOTATIONS} beside ImageSets"
        raise FileError(file, f"no folder {ANNOTATIONS} beside it or above it", remedy)
    files: dict[Path, str] = {}
    for number, line in enumerate(read_text(file).splitlines(), 1):
        # The lists of single classes have a second word.
        if line.split():
            files[folder / f"{line.split()[0]}.xml"] = f"{file}:{number}"
    return files


def _parse(file: Path, place: str) -> ElementTree.Element:
    """Return the root of an XML file; raise FileError if it is missing, damaged or declares types.

    Declared entities could be made to fill the memory.
    """
    if not file.is_file():
        raise FileError(place, f"{file} is missing", "add it, or take its line out")
    text = read_text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise FileError(file, "has a DOCTYPE, which is refused", "take it out")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise FileError(file, f"not valid XML ({error})", "correct it") from error
    if root.tag != "annotation":
        raise FileError(file, f"its root is <{root.tag}>, not <annotation>", "take it out")
    return root
