"""Open the data that an evaluation's `root` names: a folder, or a procedural world, which is rendered when it is first needed."""

from collections.abc import Sequence
from pathlib import Path

from longtake.datasets.ade20k import ADE20K
from longtake.datasets.ade20k import EXPECTED as PUBLISHED_ADE20K
from longtake.datasets.coco import COCO, Look, nothing_more
from longtake.datasets.coco import EXPECTED as PUBLISHED_COCO
from longtake.datasets.content import Content, as_published, content_of, content_of_world
from longtake.datasets.davis import DAVIS
from longtake.datasets.davis import EXPECTED as PUBLISHED_DAVIS
from longtake.datasets.got10k import EXPECTED as PUBLISHED_GOT10K
from longtake.datasets.got10k import GOT10k
from longtake.datasets.listing import lines_of
from longtake.datasets.mini.dense import CLASSES_OF_PIXELS, prepare_ade20k, prepare_coco
from longtake.datasets.mini.formats import VOC_CLASSES, prepare_davis, prepare_voc
from longtake.datasets.mini.tracks import prepare_got10k
from longtake.datasets.mini.worlds import WORLDS
from longtake.datasets.roots import data_root, expanded
from longtake.datasets.voc import EXPECTED as PUBLISHED_VOC
from longtake.datasets.voc import VOC

# How the published sets call their items; of DAVIS some of its sequences.
NAMED_BY_VOC, NAMED_BY_ADE20K = r"\d{4}_\d{6}|\d{6}", r"\w+/ADE_(train|val)_\d{8}"
NAMED_BY_COCO, NAMED_BY_GOT10K = r"\d{12}\.jpg", r"GOT-10k_(Train|Val|Test)_\d{6}"
IN_DAVIS = {"train": {"bear", "boat", "elephant", "hike"}, "val": {"blackswan", "breakdance", "camel", "cows", "libby"}}


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


def content_of_voc(root: str, lists: Sequence[str]) -> Content:
    """What is in the lists' pictures, boxes and masks, or a world. For data that `missing_voc` accepts."""
    if root in WORLDS:
        return content_of_world(root)
    voc = VOC(expanded(root))
    names = {image_list: voc.names(image_list) for image_list in lists}
    every = list(dict.fromkeys(name for listed in names.values() for name in listed))
    masks = [path for name in every if (path := voc.mask_file(name)).is_file()]
    boxes = [path for name in every if (path := voc.root / "Annotations" / f"{name}.xml").is_file()]
    lists_of = [voc.root / "ImageSets" / f"{image_list}.txt" for image_list in lists]
    published: dict[str, dict[str, int]] = {}
    for (year, image_list), count in PUBLISHED_VOC.items():
        published.setdefault(year, {})[image_list] = count
    counts = {image_list: len(listed) for image_list, listed in names.items()}
    original = as_published(counts, published, every, NAMED_BY_VOC)
    return content_of(voc.root, counts, [*map(voc.image, every)], [*lists_of, *boxes, *masks], original)


def content_of_ade20k(root: str, lists: Sequence[str]) -> Content:
    """What is in the splits' pictures and masks, or a world. For data that `missing_ade20k` accepts."""
    if root in WORLDS:
        return content_of_world(root)
    data = ADE20K(expanded(root))
    names = {split: data.names(split) for split in lists}
    counts = {split: len(found) for split, found in names.items()}
    every = [name for found in names.values() for name in found]
    original = as_published(counts, {"ADEChallengeData2016": PUBLISHED_ADE20K}, every, NAMED_BY_ADE20K)
    return content_of(data.root, counts, [*map(data.image, every)], map(data.mask_file, every), original)


def content_of_segmentation(layout: str, root: str, lists: Sequence[str]) -> Content:
    return (content_of_voc if layout == "voc" else content_of_ade20k)(root, lists)


def content_of_coco(root: str, splits: Sequence[str]) -> Content:
    """What is in the splits' pictures and annotations, or a world. For data that `missing_coco` accepts."""
    if root in WORLDS:
        return content_of_world(root)
    data = COCO(expanded(root))
    names = {split: [image["file_name"] for image in data.read(split)["images"]] for split in splits}
    counts = {split: len(found) for split, found in names.items()}
    pictures = [data.images(split) / name for split, found in names.items() for name in found]
    every = [name for found in names.values() for name in found]
    original = as_published(counts, {"coco": PUBLISHED_COCO}, every, NAMED_BY_COCO)
    return content_of(data.root, counts, pictures, map(data.annotation_file, splits), original)


def content_of_davis(root: str, split: str, binary_masks: bool) -> Content:
    """What is in the sequences' frames and masks, or a world. For data that `missing_davis` accepts."""
    if root in WORLDS:
        return content_of_world(root)
    data = DAVIS(expanded(root), split, binary_masks=binary_masks)
    sequences = data.sequences()
    frames, masks = (
        [path for sequence in sequences for path in getattr(sequence, kind)] for kind in ("frames", "masks")
    )
    counts = {split: len(sequences)}
    published = {"DAVIS": {of: count for (year, of), count in PUBLISHED_DAVIS.items() if year == data.year}}
    known = IN_DAVIS.get(split, set()) <= {sequence.name for sequence in sequences}
    original = as_published(counts, published) if known else None
    return content_of(data.root, counts, frames, [data.list_file, *masks], original)


def content_of_got10k(root: str, splits: Sequence[str], exclude: Sequence[str]) -> Content:
    """What is in the sequences' frames, boxes and labels, or a world. For data that `missing_got10k` accepts."""
    if root in WORLDS:
        return content_of_world(root)
    counts, names, annotations, frames = {}, list[str](), list[Path](), list[Path]()
    for split in splits:
        data = GOT10k(expanded(root), split, exclude)
        tracks = data.tracks()
        counts[split] = len(tracks)
        names += [track.name for track in tracks]
        annotations += [
            path for track in tracks for path in sorted(track.folder.iterdir()) if path.suffix in (".txt", ".label")
        ]
        frames += [track.frame(t) for track in tracks for t in range(track.num_frames)]
    whole = {split: count + len(set(exclude) & _listed(expanded(root), split)) for split, count in counts.items()}
    original = as_published(whole, {"GOT-10k": PUBLISHED_GOT10K}, names, NAMED_BY_GOT10K)
    return content_of(expanded(root), counts, frames, annotations, original)


def _listed(root: Path, split: str) -> set[str]:
    return set(lines_of(GOT10k(root, split).list_file))
