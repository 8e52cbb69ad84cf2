"""Stanford Cars (Krause et al., "3D object representations for fine-grained categorization", 2013), in its two layouts.

    cars_annos.mat, car_ims/000001.jpg ...                                the combined one; `test` marks the test images
    devkit/cars_train_annos.mat, devkit/cars_meta.mat, cars_train/,       torchvision's
    cars_test_annos_withlabels.mat, cars_test/

Classes count from 1 in both. The numbers of images of the two splits are the same, their names are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from longtake.datasets.annotations import below, read_mat
from longtake.datasets.labelled import FileImages, ImageSet, counted_from

COMBINED, META = "cars_annos.mat", "devkit/cars_meta.mat"
DEVKIT = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}


@dataclass(frozen=True)
class Cars(ImageSet):
    """A folder in either layout; the combined one is taken when both are there."""

    title: ClassVar[str] = "Stanford Cars"
    how_to_get: ClassVar[str] = (
        "Stanford Cars: the original host is gone; a mirror's cars_annos.mat with car_ims/, or torchvision's stanford_cars "
        "folder, under the data root; or root=FOLDER"
    )
    expected: ClassVar[dict[str, int]] = {"train": 8144, "test": 8041}

    @property
    def combined(self) -> bool:
        return (self.root / COMBINED).is_file()

    def needed(self, split: str) -> list[str]:
        return [COMBINED, "car_ims"] if self.combined else [META, DEVKIT[split], f"cars_{split}"]

    def open(self, split: str) -> FileImages:
        path = self.root / (COMBINED if self.combined else DEVKIT[split])
        rows = self._annotations(path)
        meta = path if self.combined else self.root / META
        classes = [str(name) for name in np.atleast_1d(read_mat(meta, ["class_names"])["class_names"])]
        if self.combined:
            rows = rows[np.array([int(flag) for flag in rows["test"]]) == (split == "test")]
            items = [str(name) for name in rows["relative_im_path"]]
        else:
            items = [f"cars_{split}/{name}" for name in rows["fname"]]
        numbers = np.array([int(number) for number in rows["class"]], np.int64)
        return FileImages(below(items, path), counted_from(1, numbers, len(classes), path), classes, self.root)

    def _annotations(self, path: Path) -> np.ndarray:
        """One row per image. Raises `ValueError` when it has no names or no classes."""
        rows = np.atleast_1d(read_mat(path, ["annotations"])["annotations"])
        wanted = {"class", *(("relative_im_path", "test") if self.combined else ("fname",))}
        if lacks := sorted(wanted - set(rows.dtype.names or ())):
            raise ValueError(f"{path}: annotations without {', '.join(lacks)} (there: {rows.dtype.names})")
        return rows


def write_cars(
    root: Path,
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    labels: Int[np.ndarray, "n"],
    tested: Sequence[bool],
    classes: Sequence[str],
    combined: bool = True,
) -> Cars:
    """Write images with labels from 0, those with `tested` into the test split, in the combined layout or torchvision's."""
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for i, (image, label, test) in enumerate(zip(images, labels.tolist(), tested, strict=True)):
        split = "test" if test else "train"
        folder = "car_ims" if combined else f"cars_{split}"
        name = f"{(i if combined else len(rows[split])) + 1:0{6 if combined else 5}d}.jpg"
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / folder / name, quality=95)
        box = {"bbox_x1": 1, "bbox_y1": 1, "bbox_x2": image.shape[1], "bbox_y2": image.shape[0], "class": label + 1}
        rows[split].append({**box, "relative_im_path": f"{folder}/{name}", "test": int(test), "fname": name})
    names = np.array([list(classes)], dtype=object)
    from scipy.io import savemat

    if combined:
        left_out = {"fname"}
        savemat(
            root / COMBINED, {"annotations": _structs(rows["train"] + rows["test"], left_out), "class_names": names}
        )
        return Cars(root)
    (root / "devkit").mkdir()
    savemat(root / META, {"class_names": names})
    for split, file in DEVKIT.items():
        savemat(root / file, {"annotations": _structs(rows[split], {"relative_im_path", "test"})})
    return Cars(root)


def _structs(rows: Sequence[dict[str, Any]], left_out: set[str]) -> np.ndarray:
    """MATLAB's array of structures, one row."""
    keys = [key for key in rows[0] if key not in left_out]
    table = np.empty((1, len(rows)), dtype=[(key, object) for key in keys])
    for i, row in enumerate(rows):
        for key in keys:
            table[key][0, i] = row[key]
    return table
