"""What Cascade Mask R-CNN trains on and is tested on, as records that mmdetection's transforms take.

The rules are those of mmdetection 3.3 (mmdet/datasets/coco.py), but for one: classes are numbered by the order of their numbers, as
the scores are, not by their order in the file.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Content = dict[str, Any]


def trained_images(content: Content, least_side: int, place: object) -> list[dict[str, Any]]:
    """Images that have an object and whose sides are at least so many pixels.

    Raises `ValueError`, which begins with `place`, where there is none.
    """
    shown = {annotation["image_id"] for annotation in content["annotations"]}
    sides = {image["id"]: min(image["width"], image["height"]) for image in content["images"]}
    found = [image for image in content["images"] if image["id"] in shown and sides[image["id"]] >= least_side]
    if not found:
        raise ValueError(
            f"{place}: {len(sides)} images, none with an object and sides of {least_side} pixels or more, expected some to train "
            f"on (the largest has a shorter side of {max(sides.values())})"
        )
    return found


def records_of(
    content: Content, images: Iterable[dict[str, Any]], folder: Path, numbers: Sequence[int]
) -> list[dict[str, Any]]:
    """A record of each of the images with its objects; `numbers` are those of the classes, in order."""
    labels = {number: label for label, number in enumerate(numbers)}
    objects: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        objects[annotation["image_id"]].append(annotation)
    return [
        {
            "img_path": str(folder / image["file_name"]), "img_id": image["id"], "height": image["height"],
            "width": image["width"], "seg_map_path": None,
            "instances": [_instance(a, labels) for a in objects[image["id"]] if _counts(a, image)],
        }
        for image in images
    ]  # fmt: skip


def _counts(annotation: dict[str, Any], image: dict[str, Any]) -> bool:
    """Whether there is something of an object in its image."""
    x, y, w, h = annotation["bbox"]
    across = max(0, min(x + w, image["width"]) - max(x, 0))
    down = max(0, min(y + h, image["height"]) - max(y, 0))
    there = across * down > 0 and annotation["area"] > 0 and w >= 1 and h >= 1
    return there and not annotation.get("ignore", False)


def _instance(annotation: dict[str, Any], labels: dict[int, int]) -> dict[str, Any]:
    x, y, w, h = annotation["bbox"]
    return {
        "ignore_flag": int(bool(annotation["iscrowd"])), "bbox": [x, y, x + w, y + h],
        "bbox_label": labels[annotation["category_id"]], "mask": annotation["segmentation"],
    }  # fmt: skip
