"""iNaturalist 2018 (https://github.com/visipedia/inat_comp/tree/master/2018): 8142 species.

inat2018/train2018.json, val2018.json       images, annotations; category ids from 0
inat2018/categories.json                    names of the categories (optional: the ids serve as well)
inat2018/train_val2018/<super>/<category>/<hash>.jpg
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from longtake.datasets.annotations import below, parsed, read_json, rows_of
from longtake.datasets.labelled import FileImages, ImageSet, counted_from

FOLDER = "train_val2018"


@dataclass(frozen=True)
class INat18(ImageSet):
    """A folder in that layout; the public labels are those of train and val."""

    title: ClassVar[str] = "iNaturalist 2018"
    folder: ClassVar[str] = "inat2018"
    how_to_get: ClassVar[str] = (
        "iNaturalist 2018: train_val2018.tar.gz, train2018.json.tar.gz, val2018.json.tar.gz and categories.json named on "
        "github.com/visipedia/inat_comp (120 GB), unpacked under the data root; or root=FOLDER"
    )
    expected: ClassVar[dict[str, int]] = {"train": 437_513, "val": 24_426}

    def needed(self, split: str) -> list[str]:
        return [f"{split}2018.json", FOLDER]

    def open(self, split: str) -> FileImages:
        path = self.root / f"{split}2018.json"
        content = checked(read_json(path, ["images", "annotations", "categories"]), path)
        category = {entry["image_id"]: entry["category_id"] for entry in content["annotations"]}
        images = content["images"]
        if unlabelled := [image["file_name"] for image in images if image["id"] not in category]:
            raise ValueError(f"{path}: {len(unlabelled)} of {len(images)} images have no annotation: {unlabelled[:3]}")
        classes = self._classes(content["categories"])
        numbers = np.array([category[image["id"]] for image in images], np.int64)
        labels = counted_from(0, numbers, len(classes), path)
        return FileImages(below([image["file_name"] for image in images], path), labels, classes, self.root)

    def _classes(self, categories: Sequence[dict[str, Any]]) -> list[str]:
        """Names by id: those of categories.json where it is there, since the competition's own lists hide them."""
        path = self.root / "categories.json"
        known = named_categories(path) if path.is_file() else categories
        names = {entry["id"]: str(entry.get("name", entry["id"])) for entry in known}
        return [names.get(number, str(number)) for number in range(len(categories))]


def checked(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The lists of a split. Raises `ValueError` for entries that are not what they should be."""
    rows_of(content, "images", {"id": int | str, "file_name": str}, path)
    rows_of(content, "annotations", {"image_id": int | str, "category_id": int}, path)
    rows_of(content, "categories", {"id": int}, path)
    return content


def named_categories(path: Path) -> list[dict[str, Any]]:
    """The categories of categories.json, a list. Raises `ValueError` for anything else."""
    return rows_of({"categories": parsed(path)}, "categories", {"id": int, "name": int | str}, path)


def write_inat18(
    root: Path, splits: dict[str, tuple[Sequence[UInt8[np.ndarray, "_ _ 3"]], Int[np.ndarray, "n"]]], num_classes: int
) -> INat18:
    """Write images and labels of train and val."""
    categories = [{"id": label, "name": f"species {label}", "supercategory": "Plantae"} for label in range(num_classes)]
    for split, (pictures, labels) in splits.items():
        images, annotations = [], []
        for i, (picture, label) in enumerate(zip(pictures, labels.tolist(), strict=True)):
            name = f"{FOLDER}/Plantae/{label}/{split}{i:04d}.jpg"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / name, quality=95)
            images.append({"id": i, "file_name": name})
            annotations.append({"id": i, "image_id": i, "category_id": label})
        hidden = [{**entry, "name": str(entry["id"])} for entry in categories]
        content = {"images": images, "annotations": annotations, "categories": hidden}
        (root / f"{split}2018.json").write_text(json.dumps(content))
    (root / "categories.json").write_text(json.dumps(categories))
    return INat18(root)
