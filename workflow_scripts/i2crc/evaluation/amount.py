"""How much a run works on. Importing this module needs no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Amount:
    """How much a run works on.

    `megapixels` are those of an average photograph at its working size, `own_megapixels` at its
    own. `classes` is the number of classes, `each` that of an average photograph. `decode` are the
    seconds of a core in which a photograph is checked. `masks` means that stages are scored,
    `saliency` that saliency maps are computed.
    """

    train: int
    val: int
    classes: int
    each: float
    megapixels: float
    own_megapixels: float
    decode: float
    masks: bool
    saliency: bool
