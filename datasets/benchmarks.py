"""Open the data that an evaluation's `root` names: a folder, or a procedural world, which is rendered when it is first needed."""

from collections.abc import Sequence

from longtake.datasets.ade20k import ADE20K
from longtake.datasets.coco import COCO, Look, nothing_more
from longtake.datasets.davis import DAVIS
from longtake.datasets.got10k import GOT10k
from longtake.datasets.mini.dense import CLASSES_OF_PIXELS, prepare_ade20k, prepare_coco
from longtake.datasets.mini.formats import VOC_CLASSES, prepare_davis, prepare_voc
from longtake.datasets.mini.tracks import prepare_got10k
from longtake.datasets.mini.worlds import WORLDS
from longtake.datasets.roots import data_root, expanded
from longtake.datasets.voc import VOC


def missing_voc(root: str, lists: Sequence[str]) -> list[str]:
    """List what is missing, like `VOC.check`; a world can always be rendered."""
    return [] if root in WORLDS else VOC(expanded(root)).check(lists)


def open_voc(root: str, progress: bool = True) -> VOC:
    if root in WORLDS:
        return VOC(prepare_voc(WORLDS[root], data_root(), progress=progress), VOC_CLASSES)
    return VOC(expanded(root))


def missing_ade20k(root: str, lists: Sequence[str]) -> list[str]:
    """List what is missing, like `ADE20K.check`; a world can always be rendered."""
    return [] if root in WORLDS else ADE20K(expanded(root)).check(lists)


def open_ade20k(root: str, progress: bool = True) -> ADE20K:
    if root in WORLDS:
        return ADE20K(prepare_ade20k(WORLDS[root], data_root(), progress=progress), len(CLASSES_OF_PIXELS))
    return ADE20K(expanded(root))


def missing_coco(root: str, splits: Sequence[str], look: Look = nothing_more) -> list[str]:
    """List what is missing, like `COCO.check`; a world can always be rendered."""
    return [] if root in WORLDS else COCO(expanded(root)).check(splits, look)


def open_coco(root: str, progress: bool = True) -> COCO:
    return COCO(prepare_coco(WORLDS[root], data_root(), progress=progress) if root in WORLDS else expanded(root))


def missing_segmentation(layout: str, root: str, lists: Sequence[str]) -> list[str]:
    """List what is missing, like `VOC.check` or `ADE20K.check`. Raises `ValueError` for a layout that is neither."""
    if layout not in ("voc", "ade20k"):
        raise ValueError(f"layout: got {layout!r}, expected voc or ade20k")
    return (missing_voc if layout == "voc" else missing_ade20k)(root, lists)


def open_segmentation(layout: str, root: str, progress: bool = True) -> VOC | ADE20K:
    return (open_voc if layout == "voc" else open_ade20k)(root, progress)


def missing_davis(root: str, split: str, binary_masks: bool) -> list[str]:
    """List what is missing, like `DAVIS.check`; a world can always be rendered."""
    return [] if root in WORLDS else DAVIS(expanded(root), split, binary_masks=binary_masks).check()


def open_davis(root: str, split: str, binary_masks: bool, progress: bool = True) -> DAVIS:
    folder = prepare_davis(WORLDS[root], data_root(), progress=progress) if root in WORLDS else expanded(root)
    return DAVIS(folder, split, binary_masks=binary_masks)


def missing_got10k(root: str, split: str, exclude: Sequence[str]) -> list[str]:
    """List what is missing, like `GOT10k.check`; a world can always be rendered."""
    return [] if root in WORLDS else GOT10k(expanded(root), split, exclude).check()


def open_got10k(root: str, split: str, exclude: Sequence[str], progress: bool = True) -> GOT10k:
    folder = prepare_got10k(WORLDS[root], data_root(), progress=progress) if root in WORLDS else expanded(root)
    return GOT10k(folder, split, exclude)
