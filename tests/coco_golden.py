"""Annotations and detections in COCO's format, made by formula (golden section 07)."""

import math

import numpy as np
from golden import G
from pycocotools import mask as masks

from longtake.datasets.coco import box_of, run_lengths
from longtake.downstream.coco_eval import run_length

SIZES = {11: (120, 160), 25: (90, 130), 42: (200, 180)}
TRUTH = [
    (11, 1, 40, 40, 24, 18, 0, "poly"), (11, 3, 110, 70, 30, 26, 0, "poly"), (11, 1, 20, 100, 9, 7, 0, "poly"),
    (25, 3, 60, 45, 40, 33, 0, "poly"), (25, 1, 100, 60, 22, 20, 1, "rle"), (25, 7, 20, 20, 11, 12, 0, "rle"),
    (42, 7, 90, 100, 70, 80, 0, "poly"), (42, 1, 40, 30, 13, 12, 0, "poly"), (42, 3, 140, 150, 28, 36, 0, "rle"),
    (42, 1, 60, 170, 20, 15, 0, "poly"),
]  # fmt: skip
FOUND = [
    (11, 1, 42, 41, 24, 17, 0.9), (11, 1, 41, 39, 22, 18, 0.9), (11, 3, 108, 73, 31, 25, 0.8), (11, 3, 118, 60, 25, 25, 0.35),
    (11, 1, 21, 99, 9, 8, 0.7), (11, 7, 60, 60, 15, 15, 0.5), (25, 3, 58, 47, 41, 31, 0.8), (25, 1, 100, 60, 21, 19, 0.6),
    (25, 1, 92, 55, 10, 9, 0.6), (25, 1, 20, 20, 11, 12, 0.4), (25, 7, 21, 19, 10, 12, 0.55), (42, 7, 93, 97, 66, 83, 0.95),
    (42, 7, 60, 90, 40, 60, 0.3), (42, 1, 44, 31, 12, 13, 0.9), (42, 3, 137, 153, 27, 33, 0.8), (42, 1, 62, 171, 19, 14, 0.2),
    (42, 1, 58, 166, 22, 17, 0.2),
]  # fmt: skip


def ellipse(size: tuple[int, int], cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1).astype(np.uint8)


def truth() -> dict:
    annotations = []
    for number, (image, category, cx, cy, rx, ry, crowd, form) in enumerate(TRUTH, 1):
        height, width = SIZES[image]
        if form == "poly":
            angles = [2 * math.pi * k / 24 for k in range(24)]
            points = [round(v, 2) for a in angles for v in (cx + rx * math.cos(a), cy + ry * math.sin(a))]
            rle = masks.merge(masks.frPyObjects([points], height, width))
            segmentation, area, box = [points], float(masks.area(rle)), masks.toBbox(rle).tolist()
        else:
            pixels = ellipse((height, width), cx, cy, rx, ry)
            segmentation = {"size": [height, width], "counts": run_lengths(pixels)}
            area, box = float(pixels.sum()), box_of(pixels)
        about = {"id": number, "image_id": image, "category_id": category, "iscrowd": crowd}
        annotations.append({**about, "segmentation": segmentation, "area": area, "bbox": box})
    images = [{"id": number, "height": h, "width": w} for number, (h, w) in SIZES.items()]
    return {"images": images, "annotations": annotations, "categories": [{"id": n, "name": str(n)} for n in (1, 3, 7)]}


def results(kind: str) -> list[dict]:
    noise = (1.5 * G((len(FOUND), 4), 2.3, 0.3).double()).numpy()
    found = []
    for (image, category, cx, cy, rx, ry, score), n in zip(FOUND, noise, strict=True):
        height, width = SIZES[image]
        about = {"image_id": image, "category_id": category, "score": score}
        x0, y0 = max(0, cx - rx + n[0]), max(0, cy - ry + n[1])
        x1, y1 = min(width, cx + rx + n[2]), min(height, cy + ry + n[3])
        if kind == "bbox":
            about["bbox"] = [round(float(v), 2) for v in (x0, y0, x1 - x0, y1 - y0)]
        else:
            about["segmentation"] = run_length(ellipse((height, width), cx, cy, rx, ry))
        found.append(about)
    return found
